// Convolution as matrix products: images (N, H, W, C) to columns (G, P, KH, KW, C / G) and back.
// P counts the output pixels of a chunk of images; `vectors` the packs of a group's channels.
#include "taps.cuh"

// Gathers the window of each output pixel into its columns; taps outside the image give zero. One
// block for each row of output pixels (x) and for its threads' places in the columns of a pixel (y):
// a thread keeps its group, tap and channels, and threads along y share the pixels of the row.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) im2col(
    const T* __restrict__ x, T* __restrict__ columns, long long pixels, int groups, int vectors,
    int height, int width, int out_height, int out_width, int kernel_h, int kernel_w, int stride_h,
    int stride_w, int dilation_h, int dilation_w, int top, int left) {
    const int place = blockIdx.y * blockDim.x + threadIdx.x;
    const int cell = place / vectors;
    const int taps = kernel_h * kernel_w;
    const int group = cell / taps;
    if (group >= groups) return;
    const int c = place - cell * vectors;
    const int tap = cell - group * taps;
    const int i = tap / kernel_w;
    const int j = tap - i * kernel_w;

    const int n = blockIdx.x / out_height;
    const int oh = blockIdx.x - n * out_height;
    const int h = oh * stride_h - top + i * dilation_h;
    const bool row_inside = h >= 0 && h < height;
    const long long row = (static_cast<long long>(n) * height + h) * width;
    const long long out_row = group * pixels + static_cast<long long>(blockIdx.x) * out_width;
    for (int ow = threadIdx.y; ow < out_width; ow += blockDim.y) {
        const int w = ow * stride_w - left + j * dilation_w;
        Pack<T, VEC> pack;
        if (row_inside && w >= 0 && w < width) {
            pack = load<VEC>(x, ((row + w) * groups + group) * vectors + c);
        } else {
#pragma unroll
            for (int k = 0; k < VEC; k++) pack.values[k] = narrow<T>(0);
        }
        store<VEC>(columns, ((out_row + ow) * taps + tap) * vectors + c, pack);
    }
}

// Gives each pixel the sum of the columns that it went to: a gather, in the order of the taps. One
// block for each row of pixels (x) and for its threads' channels (y); threads along y share the row.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) col2im(
    const T* __restrict__ columns, T* __restrict__ dx, long long pixels, int groups, int vectors,
    int height, int width, int out_height, int out_width, int kernel_h, int kernel_w, int stride_h,
    int stride_w, int dilation_h, int dilation_w, int top, int left) {
    const int channel = blockIdx.y * blockDim.x + threadIdx.x;
    const int group = channel / vectors;
    if (group >= groups) return;
    const int c = channel - group * vectors;
    const int taps = kernel_h * kernel_w;

    const int n = blockIdx.x / height;
    const int h = blockIdx.x - n * height;
    const Taps first_row(h + top, stride_h, dilation_h);
    const long long image = group * pixels + static_cast<long long>(n) * out_height * out_width;
    const long long row = static_cast<long long>(blockIdx.x) * width;
    for (int w = threadIdx.y; w < width; w += blockDim.y) {
        const Taps first_column(w + left, stride_w, dilation_w);
        Accumulator<T> sum[VEC] = {};
        Taps rows = first_row;
        for (int i = 0; i < kernel_h; i++, rows.next()) {
            const int oh = rows.window(out_height);
            if (oh < 0) continue;
            const long long out_row = image + static_cast<long long>(oh) * out_width;
            Taps across = first_column;
            for (int j = 0; j < kernel_w; j++, across.next()) {
                const int ow = across.window(out_width);
                if (ow < 0) continue;
                const long long cell = (out_row + ow) * taps + i * kernel_w + j;
                const auto pack = load<VEC>(columns, cell * vectors + c);
#pragma unroll
                for (int k = 0; k < VEC; k++) sum[k] += widen(pack.values[k]);
            }
        }
        store<VEC>(dx, ((row + w) * groups + group) * vectors + c, narrowed<T, VEC>(sum));
    }
}

// Adds a chunk's product to the total, which the first chunk begins; the last one, which has an
// array for the rounded sum, ends it.
template <typename T>
__global__ void __launch_bounds__(256, 4) add_product(
    const T* __restrict__ product, Accumulator<T>* __restrict__ total,
    T* __restrict__ rounded,  // or null
    long long count, int begins) {
    for (long long i = first_index(); i < count; i += index_step()) {
        const Accumulator<T> before = begins ? 0 : total[i];
        const Accumulator<T> sum = before + widen(product[i]);
        if (rounded == nullptr) {
            total[i] = sum;
        } else {
            rounded[i] = narrow<T>(sum);
        }
    }
}
