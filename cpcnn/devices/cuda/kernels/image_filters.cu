// Passes over whole stored images before the input stage: mean colour, autocontrast, equalize,
// sharpness. As ops/image_filters.py defines them, in whole numbers.
#include "reduction.cuh"

constexpr int VALUES = 256;

// means (N, C) of images (M, H * W, C). One block for each image, threads along x on the channels,
// along y on pixels.
template <typename Pixel>
__global__ void __launch_bounds__(256, 4) mean_colour(
    const Pixel* __restrict__ images, const long long* __restrict__ index,  // or null
    float* __restrict__ means, int pixels, int channels) {
    const int n = blockIdx.x, c = threadIdx.x;
    const long long image = index == nullptr ? n : index[n];
    images += image * pixels * channels;
    double sum[1] = {};
    for (int p = threadIdx.y; p < pixels; p += blockDim.y) {
        sum[0] += widen(images[static_cast<long long>(p) * channels + c]);
    }
    sum_columns(sum);
    if (threadIdx.y == 0) {
        means[static_cast<long long>(n) * channels + c] = static_cast<float>(sum[0] / pixels);
    }
}

// Writes the table that takes the least value to 0 and the largest to 255.
__device__ __forceinline__ void stretch(const int* counts, unsigned char* table) {
    int least = 0, most = VALUES - 1;
    while (least < most && counts[least] == 0) least++;
    while (most > least && counts[most] == 0) most--;
    const int span = most - least;
    for (int value = 0; value < VALUES; value++) {
        const int held = min(max(value, least), most);
        table[value] = span == 0 ? value : (255 * (held - least) + span / 2) / span;
    }
}

// Writes the table in which the number of pixels below a value says where it goes.
__device__ __forceinline__ void equalize(const int* counts, unsigned char* table) {
    int total = 0, last = 0, below = 0;
    for (int value = 0; value < VALUES; value++) {
        total += counts[value];
        if (counts[value] > 0) last = counts[value];
    }
    const int step = (total - last) / 255;
    for (int value = 0; value < VALUES; value++) {
        table[value] = step == 0 ? value : min((below + step / 2) / step, 255);
        below += counts[value];
    }
}

// tables (N, C, 256): where autocontrast and equalize take the values of each channel of images
// (M, H * W, C); settings (N, 3). One block of 256 threads for each channel of each image. Counts
// are added with atomics: whole numbers are the same in any order.
template <typename Pixel>
__global__ void __launch_bounds__(256, 4) tone_tables(
    const Pixel* __restrict__ images, const int* __restrict__ settings,
    const long long* __restrict__ index,  // or null
    unsigned char* __restrict__ tables, int pixels, int channels) {
    __shared__ int counts[VALUES], moved[VALUES];
    __shared__ unsigned char first[VALUES], second[VALUES];
    const int n = blockIdx.x / channels, c = blockIdx.x - n * channels, thread = threadIdx.x;
    const bool stretches = settings[3LL * n] != 0, equalizes = settings[3LL * n + 1] != 0;
    tables += static_cast<long long>(blockIdx.x) * VALUES;
    if (!stretches && !equalizes) {  // the whole block
        tables[thread] = thread;
        return;
    }
    const long long image = index == nullptr ? n : index[n];
    images += image * pixels * channels + c;
    counts[thread] = moved[thread] = 0;
    first[thread] = second[thread] = thread;
    __syncthreads();
    for (int p = thread; p < pixels; p += VALUES) {
        atomicAdd(&counts[images[static_cast<long long>(p) * channels]], 1);
    }
    __syncthreads();
    if (thread == 0) {
        if (stretches) stretch(counts, first);
        for (int value = 0; value < VALUES; value++) moved[first[value]] += counts[value];
        if (equalizes) equalize(moved, second);
    }
    __syncthreads();
    tables[thread] = second[first[thread]];
}

// y (N, H, W, C): images (M, H, W, C) through their tables, then sharpened. One block for each row
// of pixels, threads along x on channels, along y on pixels.
template <typename Pixel>
__global__ void __launch_bounds__(256, 4) look_up_and_sharpen(
    const Pixel* __restrict__ images, const int* __restrict__ settings,
    const long long* __restrict__ index,  // or null
    const unsigned char* __restrict__ tables, Pixel* __restrict__ y, int height, int width,
    int channels) {
    const int n = blockIdx.x / height, h = blockIdx.x - n * height;
    const long long image = index == nullptr ? n : index[n];
    const long long stride = static_cast<long long>(width) * channels;
    images += (image * height + h) * stride;
    y += blockIdx.x * stride;
    const int sharpness = settings[3LL * n + 2];
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        const unsigned char* table = tables + (static_cast<long long>(n) * channels + c) * VALUES;
        for (int w = threadIdx.y; w < width; w += blockDim.y) {
            const Pixel* place = images + static_cast<long long>(w) * channels + c;
            int value = table[*place];
            const bool border = h == 0 || w == 0 || h == height - 1 || w == width - 1;
            if (sharpness != 256 && !border) {
                int sum = 4 * value;
                for (int i = -1; i <= 1; i++) {
                    for (int j = -1; j <= 1; j++) sum += table[place[i * stride + j * channels]];
                }
                const int smooth = (sum + 6) / 13;
                value = (256 * smooth + sharpness * (value - smooth) + 128) >> 8;
                value = min(max(value, 0), 255);
            }
            y[static_cast<long long>(w) * channels + c] = value;
        }
    }
}
