// Where a pixel of a changed image is read in the stored one: whole places, and between them.
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
