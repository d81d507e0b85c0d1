// The input stage with changes of colour, erased boxes and mixed images, in one pass.
#include "sampling.cuh"

// What is given per image, as AugmentedInput of ops/augmented_input.py defines it; most may be null.
template <typename A, typename Pixel> struct Given {
    const Pixel* images;
    const double* mean;
    const double* deviation;
    const int* crop;
    const bool* flip;
    const double* affine;
    const A* colour;
    const A* tone;
    const int* erase;
    const long long* index;
    int height, width;
};

// Whether a pixel lies in an image's box: top, left, and bottom, right beyond it.
__device__ __forceinline__ bool inside(const int* boxes, int n, int h, int w) {
    const int* box = boxes + 4LL * n;
    return h >= box[0] && w >= box[1] && h < box[2] && w < box[3];
}

// A value brought into 0..255; NaN stays.
template <typename A> __device__ __forceinline__ A within(A value) {
    if (value < 0) value = 0;
    if (value > 255) value = 255;
    return value;
}

// The colour of pixel (h, w) of image n where crop, flip and affine map say.
template <typename A, typename Pixel, int CHANNELS>
__device__ __forceinline__ void read_colour(
    A (&values)[CHANNELS], const Given<A, Pixel>& given, int n, int h, int w) {
    const int height = given.height, width = given.width;
    const long long image = given.index == nullptr ? n : given.index[n];
    const Pixel* pixels = given.images + image * height * width * CHANNELS;
    const bool flipped = given.flip != nullptr && given.flip[n];
    long long row = h, column = flipped ? width - 1 - w : w;
    if (given.crop != nullptr) {
        row += given.crop[2LL * n];
        column += given.crop[2LL * n + 1];
    }
    if (given.affine == nullptr) {
        pixels += (static_cast<long long>(mirrored(row, height)) * width +
                   mirrored(column, width)) * CHANNELS;
#pragma unroll
        for (int c = 0; c < CHANNELS; c++) values[c] = widen(pixels[c]);
        return;
    }
    const double* a = given.affine + 6LL * n;
    const double middle_r = (height - 1) / 2.0, middle_c = (width - 1) / 2.0;
    const double r = row - middle_r, s = column - middle_c;
    const auto at_row = between<A>(a[0] * r + a[1] * s + a[2] + middle_r, height);
    const auto at_column = between<A>(a[3] * r + a[4] * s + a[5] + middle_c, width);
#pragma unroll
    for (int c = 0; c < CHANNELS; c++) {
        values[c] = bilinear(pixels + c, at_row, at_column, width, CHANNELS);
    }
}

// Pixel (h, w) of image n as it is before it is mixed.
template <typename A, typename Pixel, int CHANNELS>
__device__ __forceinline__ void finish(
    A (&values)[CHANNELS], const Given<A, Pixel>& given, int n, int h, int w) {
    A old[CHANNELS];
    read_colour(old, given, n, h, w);
#pragma unroll
    for (int c = 0; c < CHANNELS; c++) {
        values[c] = old[c];
        if (given.colour != nullptr) {
            const A* m = given.colour + (static_cast<long long>(n) * CHANNELS + c) * (CHANNELS + 1);
            A sum = m[CHANNELS];
#pragma unroll
            for (int k = 0; k < CHANNELS; k++) sum += m[k] * old[k];
            values[c] = within(sum);
        }
        if (given.tone != nullptr) {
            const A threshold = given.tone[2LL * n], step = given.tone[2LL * n + 1];
            const A half = 0.5;
            if (values[c] + half >= threshold) values[c] = 255 - values[c];
            if (step > 1) values[c] = floor((values[c] + half) / step) * step;
        }
        values[c] = (values[c] - static_cast<A>(given.mean[c])) /
            static_cast<A>(given.deviation[c]);
        if (given.erase != nullptr && inside(given.erase, n, h, w)) values[c] = 0;
    }
}

// y (N, H, W, channels) from images (M, H, W, CHANNELS); further channels are zero. One block for
// each row of pixels, a thread for each pixel.
template <typename T, typename Pixel, int CHANNELS>
__global__ void __launch_bounds__(256, 3) augmented_input(
    const Pixel* __restrict__ images, const double* __restrict__ mean,
    const double* __restrict__ deviation, const int* __restrict__ crop,  // or null
    const bool* __restrict__ flip,                                 // or null
    const double* __restrict__ affine,                             // or null
    const Accumulator<T>* __restrict__ colour,                     // or null
    const Accumulator<T>* __restrict__ tone,                       // or null
    const int* __restrict__ erase,                                 // or null
    const int* __restrict__ partner,                               // or null
    const Accumulator<T>* __restrict__ share,                      // or null
    const int* __restrict__ box,                                   // or null
    const long long* __restrict__ index,                           // or null
    T* __restrict__ y, int height, int width, int channels) {
    using A = Accumulator<T>;
    const int n = blockIdx.x / height;
    const int h = blockIdx.x - n * height;
    const Given<A, Pixel> given = {
        images, mean, deviation, crop, flip, affine, colour, tone, erase, index, height, width};
    for (int w = threadIdx.y; w < width; w += blockDim.y) {
        A values[CHANNELS];
        finish(values, given, n, h, w);
        if (partner != nullptr && inside(box, n, h, w)) {
            A others[CHANNELS];
            finish(others, given, partner[n], h, w);
            const A kept = share[n];
#pragma unroll
            for (int c = 0; c < CHANNELS; c++) {
                values[c] = kept * values[c] + (1 - kept) * others[c];
            }
        }
        T* pixel = y + (static_cast<long long>(blockIdx.x) * width + w) * channels;
#pragma unroll
        for (int c = 0; c < CHANNELS; c++) pixel[c] = narrow<T>(values[c]);
        for (int c = CHANNELS; c < channels; c++) pixel[c] = narrow<T>(0);
    }
}
