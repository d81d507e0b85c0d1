// Which windows of a convolution meet a pixel: for kernels that gather gradients.
#include "common.cuh"

// Steps through the taps of a window along one axis, and knows for each of them which window meets
// a pixel by it. A step needs no division.
class Taps {
public:
    // `place` counts pixels from the beginning of the padding.
    __device__ __forceinline__ Taps(int place, int stride, int dilation)
        : window_(place / stride), rest_(place % stride), windows_(dilation / stride),
          rests_(dilation % stride), stride_(stride) {}

    // The window, of `count`; -1 where this tap of no window meets the pixel.
    __device__ __forceinline__ int window(int count) const {
        return rest_ == 0 && window_ < count ? max(window_, -1) : -1;
    }

    __device__ __forceinline__ void next() {
        window_ -= windows_;
        rest_ -= rests_;
        if (rest_ < 0) {
            rest_ += stride_;
            window_--;
        }
    }

private:
    int window_, rest_;  // the tap's distance to the pixel is window * stride + rest
    const int windows_, rests_, stride_;
};
