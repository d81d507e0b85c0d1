// Depthwise convolution: x (N, H, W, C), weights (KH, KW, 1, O) with O = C * multiplier, and
// y (N, OH, OW, O), where channel c makes the outputs c * multiplier and following. `vectors` counts
// packs of C; packs of more than one element ask for a multiplier of 1.
#include "taps.cuh"

// One block for each row of output pixels (x) and for its threads' outputs (y); threads along y
// share the pixels of the row.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) depthwise_forward(
    const T* __restrict__ x, const T* __restrict__ weights, T* __restrict__ y, int vectors,
    int multiplier, int height, int width, int out_height, int out_width, int kernel_h,
    int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left) {
    const int o = blockIdx.y * blockDim.x + threadIdx.x;
    const int c = o / multiplier;
    if (c >= vectors) return;
    const int outputs = vectors * multiplier;

    const int n = blockIdx.x / out_height;
    const int oh = blockIdx.x - n * out_height;
    const long long image = static_cast<long long>(n) * height;
    const long long out_row = static_cast<long long>(blockIdx.x) * out_width;
    for (int ow = threadIdx.y; ow < out_width; ow += blockDim.y) {
        Accumulator<T> sum[VEC] = {};
        for (int i = 0; i < kernel_h; i++) {
            const int h = oh * stride_h - top + i * dilation_h;
            if (h < 0 || h >= height) continue;
#pragma unroll 2
            for (int j = 0; j < kernel_w; j++) {
                const int w = ow * stride_w - left + j * dilation_w;
                if (w < 0 || w >= width) continue;
                const auto pixel = load<VEC>(x, ((image + h) * width + w) * vectors + c);
                const auto weight = load<VEC>(weights, (i * kernel_w + j) * outputs + o);
#pragma unroll
                for (int k = 0; k < VEC; k++) {
                    sum[k] += widen(pixel.values[k]) * widen(weight.values[k]);
                }
            }
        }
        store<VEC>(y, (out_row + ow) * outputs + o, narrowed<T, VEC>(sum));
    }
}

// Each input pixel gathers the gradients of the outputs that it was in, in the order of the taps.
// One block for each row of input pixels (x) and for its threads' channels (y).
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) depthwise_input_gradient(
    const T* __restrict__ dy, const T* __restrict__ weights, T* __restrict__ dx, int vectors,
    int multiplier, int height, int width, int out_height, int out_width, int kernel_h,
    int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left) {
    const int c = blockIdx.y * blockDim.x + threadIdx.x;
    if (c >= vectors) return;
    const int outputs = vectors * multiplier;

    const int n = blockIdx.x / height;
    const int h = blockIdx.x - n * height;
    const Taps first_row(h + top, stride_h, dilation_h);
    const long long image = static_cast<long long>(n) * out_height;
    const long long row = static_cast<long long>(blockIdx.x) * width;
    for (int w = threadIdx.y; w < width; w += blockDim.y) {
        const Taps first_column(w + left, stride_w, dilation_w);
        Accumulator<T> sum[VEC] = {};
        Taps rows = first_row;
        for (int i = 0; i < kernel_h; i++, rows.next()) {
            const int oh = rows.window(out_height);
            if (oh < 0) continue;
            Taps across = first_column;
            for (int j = 0; j < kernel_w; j++, across.next()) {
                const int ow = across.window(out_width);
                if (ow < 0) continue;
                const long long pixel = (image + oh) * out_width + ow;
                const int tap = i * kernel_w + j;
#pragma unroll 1  // most often there is one
                for (int o = c * multiplier; o < (c + 1) * multiplier; o++) {
                    const auto gradient = load<VEC>(dy, pixel * outputs + o);
                    const auto weight = load<VEC>(weights, tap * outputs + o);
#pragma unroll
                    for (int k = 0; k < VEC; k++) {
                        sum[k] += widen(gradient.values[k]) * widen(weight.values[k]);
                    }
                }
            }
        }
        store<VEC>(dx, (row + w) * vectors + c, narrowed<T, VEC>(sum));
    }
}

// The weights' gradient, summed over parts of the output pixels: `parts` (parts, KH, KW, O). One
// thread for each weight, blocks along y for each `part_rows` of the `rows` rows of output pixels.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) depthwise_weight_gradient(
    const T* __restrict__ x, const T* __restrict__ dy, Accumulator<T>* __restrict__ parts, int rows,
    int part_rows, int vectors, int multiplier, int height, int width, int out_height,
    int out_width, int kernel_h, int kernel_w, int stride_h, int stride_w, int dilation_h,
    int dilation_w, int top, int left) {
    const int outputs = vectors * multiplier;
    const int count = kernel_h * kernel_w * outputs;
    const int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= count) return;
    const int tap = place / outputs;
    const int o = place - tap * outputs;
    const int c = o / multiplier;
    const int i = tap / kernel_w;
    const int j = tap - i * kernel_w;

    // the output columns from `begin` to `end` have this tap inside the image
    const int shift = j * dilation_w - left;
    const int begin = shift < 0 ? (stride_w - 1 - shift) / stride_w : 0;
    const int end = shift < width ? min((width - 1 - shift) / stride_w + 1, out_width) : 0;
    const long long step = static_cast<long long>(stride_w) * vectors;
    const int first = blockIdx.y * part_rows;
    const int last = first + min(part_rows, rows - first);
    Accumulator<T> sum[VEC] = {};
    for (int out_row = first; out_row < last; out_row++) {
        const int n = out_row / out_height;
        const int oh = out_row - n * out_height;
        const int h = oh * stride_h - top + i * dilation_h;
        if (h < 0 || h >= height) continue;
        const long long pixels = (static_cast<long long>(n) * height + h) * width + shift;
        long long source = (pixels + begin * stride_w) * vectors + c;
        long long target = (static_cast<long long>(out_row) * out_width + begin) * outputs + o;
#pragma unroll(VEC > 1 ? 2 : 4)
        for (int ow = begin; ow < end; ow++, source += step, target += outputs) {
            const auto pixel = load<VEC>(x, source);
            const auto gradient = load<VEC>(dy, target);
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                sum[k] += widen(pixel.values[k]) * widen(gradient.values[k]);
            }
        }
    }
    parts += (static_cast<long long>(blockIdx.y) * count + place) * VEC;
#pragma unroll
    for (int k = 0; k < VEC; k++) parts[k] = sum[k];
}
