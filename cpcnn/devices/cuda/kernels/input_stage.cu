// From stored pixels to network input: gather, crop, flip, affine warp, normalise, pad and cast.
#include "sampling.cuh"

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
