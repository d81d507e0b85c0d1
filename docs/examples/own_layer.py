"""A layer of one's own: every channel times a number that is learnt."""

from dataclasses import dataclass

from cpcnn.initializers import Constant
from cpcnn.layers import Layer, register_layer
from cpcnn.testing import check_layer


@register_layer
@dataclass(eq=False)
class ChannelGain(Layer):
    start: float = 1.0  # fields are what a checkpoint stores of the layer

    def build(self, shape):
        self.gain = self.add_param("gain", shape[-1:], Constant(self.start), decay=False)
        return shape

    def forward(self, x, ctx):
        gain = ctx.use(self.gain)
        return x * gain, (x, gain) if ctx.grad else None

    def backward(self, dy, saved, ctx):
        x, gain = saved
        self.gain.accumulate(ctx.xp.sum(dy * x, axis=tuple(range(x.ndim - 1))))
        return dy * gain


if __name__ == "__main__":
    check_layer(ChannelGain(start=0.5), (8, 8, 3))
    print("ChannelGain keeps its promises.")
