// From stored pixels to network input: gather, crop, flip, affine warp, normalise, pad and cast.
#include "common.cuh"

// Folds any place into [0, size): … 2 1 | 0 1 2 … size-1 | size-2 …
__device__ __forceinline__ int mirrored(long long place, int size) {
    if (place >= 0 && place < size) return place;
    if (size == 1) return 0;
    const long long period = 2LL * (size - 1);
    long long folded = place % period;
    if (folded < 0) folded += period;
    return folded < size ? folded : period - folded;
}

// The two pixels around a place between pixels, and the share of the higher one.
template <typename A> struct Between {
    int low, high;
    A share;
};

// Beyond the border the nearest edge pixel counts. A place that is NaN gives a share that is NaN.
template <typename A> __device__ __forceinline__ Between<A> between(double place, int size) {
    if (place < 0) place = 0;
    if (place > size - 1) place = size - 1;
    const int low = place >= 0 ? static_cast<int>(place) : 0;
    return {low, min(low + 1, size - 1), static_cast<A>(place - low)};
}

// One channel of an image (H, W, C) at a place between pixels.
template <typename A, typename Pixel>
__device__ __forceinline__ A bilinear(
    const Pixel* channel, const Between<A>& row, const Between<A>& column, int width,
    int channels) {
    const Pixel* upper = channel + static_cast<long long>(row.low) * width * channels;
    const Pixel* lower = channel + static_cast<long long>(row.high) * width * channels;
    const long long left = static_cast<long long>(column.low) * channels;
    const long long right = static_cast<long long>(column.high) * channels;
    const A top_left = widen(upper[left]);
    const A bottom_left = widen(lower[left]);
    const A top = top_left + (widen(upper[right]) - top_left) * column.share;
    const A bottom = bottom_left + (widen(lower[right]) - bottom_left) * column.share;
    return top + (bottom - top) * row.share;
}

// y (N, H, W, vectors * VEC) from images (M, H, W, C), as InputStage of ops/input_stage.py defines
// it; the channels from C on are zero. One block for each row of pixels, threads along x on vectors
// of channels, along y on pixels.
template <typename T, typename Pixel, int VEC>
__global__ void __launch_bounds__(256, 4) input_stage(
    const Pixel* __restrict__ images, const double* __restrict__ mean,
    const double* __restrict__ deviation, const int* __restrict__ crop,  // or null
    const bool* __restrict__ flip,                                 // or null
    const double* __restrict__ affine,                             // or null
    const long long* __restrict__ index,                           // or null
    T* __restrict__ y, int height, int width, int channels, int vectors) {
    using A = Accumulator<T>;
    const int n = blockIdx.x / height;
    const int h = blockIdx.x - n * height;
    const long long image = index == nullptr ? n : index[n];
    images += image * height * width * channels;
    const long long row = crop == nullptr ? h : static_cast<long long>(h) + crop[2LL * n];
    const int left = crop == nullptr ? 0 : crop[2LL * n + 1];
    const bool flipped = flip != nullptr && flip[n];
    for (int c = threadIdx.x; c < vectors; c += blockDim.x) {
        for (int w = threadIdx.y; w < width; w += blockDim.y) {
            const long long column = static_cast<long long>(flipped ? width - 1 - w : w) + left;
            A values[VEC] = {};
            if (affine == nullptr) {
                const Pixel* pixel = images +
                    (static_cast<long long>(mirrored(row, height)) * width +
                     mirrored(column, width)) * channels;
#pragma unroll
                for (int k = 0; k < VEC; k++) {
                    if (c * VEC + k < channels) values[k] = widen(pixel[c * VEC + k]);
                }
            } else {
                const double* a = affine + 6LL * n;
                const double middle_r = (height - 1) / 2.0;
                const double middle_c = (width - 1) / 2.0;
                const double r = row - middle_r;
                const double s = column - middle_c;
                const auto at_row = between<A>(a[0] * r + a[1] * s + a[2] + middle_r, height);
                const auto at_column = between<A>(a[3] * r + a[4] * s + a[5] + middle_c, width);
#pragma unroll
                for (int k = 0; k < VEC; k++) {
                    if (c * VEC + k < channels) {
                        values[k] =
                            bilinear(images + c * VEC + k, at_row, at_column, width, channels);
                    }
                }
            }
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                const int channel = c * VEC + k;
                if (channel < channels) {
                    values[k] = (values[k] - static_cast<A>(mean[channel])) /
                        static_cast<A>(deviation[channel]);
                }
            }
            const long long target = static_cast<long long>(blockIdx.x) * width + w;
            store<VEC>(y, target * vectors + c, narrowed<T, VEC>(values));
        }
    }
}
