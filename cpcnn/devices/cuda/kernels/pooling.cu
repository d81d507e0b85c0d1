// Windowed pooling of images (N, H, W, C): one block for each row of output pixels (of input pixels
// in backward), threads over channels along x and over the row's pixels along y.
#include "common.cuh"

// Maximum of each window, and in `winner` the number of the kernel cell that it came from: the first
// one of equals. A NaN wins over every number, or a diverged network would look healthy.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) max_pool_forward(
    const T* __restrict__ x, T* __restrict__ y, unsigned char* __restrict__ winner,  // or null
    int height, int width, int vectors, int out_height, int out_width, int kernel_h, int kernel_w,
    int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left) {
    const int n = blockIdx.x / out_height;
    const int oh = blockIdx.x - n * out_height;
    const long long image = static_cast<long long>(n) * height;
    const long long out_row = static_cast<long long>(blockIdx.x) * out_width;
    for (int c = threadIdx.x; c < vectors; c += blockDim.x) {
        for (int ow = threadIdx.y; ow < out_width; ow += blockDim.y) {
            Pack<T, VEC> best;
            Pack<unsigned char, VEC> cell;
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                best.values[k] = narrow<T>(-infinity());
                cell.values[k] = 0;
            }
            bool found = false;
            for (int i = 0; i < kernel_h; i++) {
                const int h = oh * stride_h - top + i * dilation_h;
                if (h < 0 || h >= height) continue;
                for (int j = 0; j < kernel_w; j++) {
                    const int w = ow * stride_w - left + j * dilation_w;
                    if (w < 0 || w >= width) continue;
                    const auto pixel = load<VEC>(x, ((image + h) * width + w) * vectors + c);
#pragma unroll
                    for (int k = 0; k < VEC; k++) {
                        const Accumulator<T> value = widen(pixel.values[k]);
                        const Accumulator<T> old = widen(best.values[k]);
                        if (!found || value > old || (value != value && old == old)) {
                            best.values[k] = pixel.values[k];
                            cell.values[k] = static_cast<unsigned char>(i * kernel_w + j);
                        }
                    }
                    found = true;
                }
            }
            const long long target = (out_row + ow) * vectors + c;
            store<VEC>(y, target, best);
            if (winner != nullptr) store<VEC>(winner, target, cell);
        }
    }
}

// Each input pixel gathers the gradients of the windows that it won: no atomics, one fixed order.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) max_pool_backward(
    const T* __restrict__ dy, const unsigned char* __restrict__ winner, T* __restrict__ dx,
    int height, int width, int vectors, int out_height, int out_width, int kernel_h, int kernel_w,
    int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left) {
    const int n = blockIdx.x / height;
    const int h = blockIdx.x - n * height;
    const long long image = static_cast<long long>(n) * out_height;
    const long long row = static_cast<long long>(blockIdx.x) * width;
    for (int c = threadIdx.x; c < vectors; c += blockDim.x) {
        for (int w = threadIdx.y; w < width; w += blockDim.y) {
            Accumulator<T> sum[VEC] = {};
            for (int i = 0; i < kernel_h; i++) {
                const int oh = window_of(h + top - i * dilation_h, stride_h, out_height);
                if (oh < 0) continue;
                for (int j = 0; j < kernel_w; j++) {
                    const int ow = window_of(w + left - j * dilation_w, stride_w, out_width);
                    if (ow < 0) continue;
                    const long long source = ((image + oh) * out_width + ow) * vectors + c;
                    const auto gradient = load<VEC>(dy, source);
                    const auto cell = load<VEC>(winner, source);
#pragma unroll
                    for (int k = 0; k < VEC; k++) {
                        const Accumulator<T> value = widen(gradient.values[k]);
                        sum[k] += cell.values[k] == i * kernel_w + j ? value : Accumulator<T>(0);
                    }
                }
            }
            store<VEC>(dx, (row + w) * vectors + c, narrowed<T, VEC>(sum));
        }
    }
}

// Mean of each window over the pixels that exist: padding does not count.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) average_pool_forward(
    const T* __restrict__ x, T* __restrict__ y, int height, int width, int vectors, int out_height,
    int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int dilation_h,
    int dilation_w, int top, int left) {
    const int n = blockIdx.x / out_height;
    const int oh = blockIdx.x - n * out_height;
    const long long image = static_cast<long long>(n) * height;
    const long long out_row = static_cast<long long>(blockIdx.x) * out_width;
    for (int c = threadIdx.x; c < vectors; c += blockDim.x) {
        for (int ow = threadIdx.y; ow < out_width; ow += blockDim.y) {
            Accumulator<T> sum[VEC] = {};
            int count = 0;
            for (int i = 0; i < kernel_h; i++) {
                const int h = oh * stride_h - top + i * dilation_h;
                if (h < 0 || h >= height) continue;
                for (int j = 0; j < kernel_w; j++) {
                    const int w = ow * stride_w - left + j * dilation_w;
                    if (w < 0 || w >= width) continue;
                    const auto pixel = load<VEC>(x, ((image + h) * width + w) * vectors + c);
#pragma unroll
                    for (int k = 0; k < VEC; k++) sum[k] += widen(pixel.values[k]);
                    count++;
                }
            }
#pragma unroll
            for (int k = 0; k < VEC; k++) sum[k] /= count;
            store<VEC>(y, (out_row + ow) * vectors + c, narrowed<T, VEC>(sum));
        }
    }
}

// How many of the taps `start + i * dilation` lie inside `size` pixels.
__device__ __forceinline__ int taps_inside(int start, int taps, int dilation, int size) {
    const int first = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const int last = start < size ? (size - 1 - start) / dilation : -1;
    return max(0, min(last, taps - 1) - first + 1);
}

// Each input pixel gathers its share of the windows that it is in.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) average_pool_backward(
    const T* __restrict__ dy, T* __restrict__ dx, int height, int width, int vectors,
    int out_height, int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w,
    int dilation_h, int dilation_w, int top, int left) {
    const int n = blockIdx.x / height;
    const int h = blockIdx.x - n * height;
    const long long image = static_cast<long long>(n) * out_height;
    const long long row = static_cast<long long>(blockIdx.x) * width;
    for (int c = threadIdx.x; c < vectors; c += blockDim.x) {
        for (int w = threadIdx.y; w < width; w += blockDim.y) {
            Accumulator<T> sum[VEC] = {};
            for (int i = 0; i < kernel_h; i++) {
                const int oh = window_of(h + top - i * dilation_h, stride_h, out_height);
                if (oh < 0) continue;
                const int down = taps_inside(oh * stride_h - top, kernel_h, dilation_h, height);
                for (int j = 0; j < kernel_w; j++) {
                    const int ow = window_of(w + left - j * dilation_w, stride_w, out_width);
                    if (ow < 0) continue;
                    const int across = taps_inside(ow * stride_w - left, kernel_w, dilation_w, width);
                    const auto gradient =
                        load<VEC>(dy, ((image + oh) * out_width + ow) * vectors + c);
#pragma unroll
                    for (int k = 0; k < VEC; k++) sum[k] += widen(gradient.values[k]) / (down * across);
                }
            }
            store<VEC>(dx, (row + w) * vectors + c, narrowed<T, VEC>(sum));
        }
    }
}
