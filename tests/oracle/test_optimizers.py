"""Trajectories of 100 steps against PyTorch: every optimizer, clipping, accumulation, average."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.param import Param, ParamStore
from cpcnn.layers.initializers import Zeros
from cpcnn.optimizers import OPTIMIZERS, SGD, Adam, AdamW, Lamb, Nadam, Optimizer, RMSprop

from .against_torch import Cases, Side, assert_close, normal, tensor, torch

pytestmark = pytest.mark.oracle

STEPS = 100
COUNTED = "trajectories of 100 steps compared with PyTorch"
SHAPES = {"kernel": (7, 5), "bias": (5,), "gamma": (3,)}
Arrays = dict[str, NDArray[Any]]
Draw = Callable[..., Any]


# --- two optimizers that PyTorch does not have in this form ---------------------------------


class KerasRMSprop(torch.optim.Optimizer):
    """RMSprop with epsilon inside the root; in PyTorch's it is outside."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, options)

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            rho = group["rho"]
            for p in group["params"]:
                state, g = self.state[p], p.grad
                if not state:
                    state.update({k: torch.zeros_like(p) for k in ("square", "mean", "buffer")})
                state["square"].mul_(rho).addcmul_(g, g, value=1 - rho)
                state["mean"].lerp_(g, 1 - rho)
                spread = state["square"]
                if group["centered"]:
                    spread = spread - state["mean"] ** 2
                step = group["lr"] * g / (spread + group["eps"]).sqrt()
                state["buffer"].mul_(group["momentum"]).add_(step)
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(state["buffer"])


class PaperLamb(torch.optim.Optimizer):
    """LAMB, algorithm 2 of arXiv:1904.00962, with the norm itself as its function phi."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, options)
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        for group in self.param_groups:
            beta_1, beta_2 = group["betas"]
            for p in group["params"]:
                state, g = self.state[p], p.grad
                if not state:
                    state.update({k: torch.zeros_like(p) for k in ("m", "v")})
                m = state["m"].lerp_(g, 1 - beta_1) / (1 - beta_1**self.steps)
                v = state["v"].mul_(beta_2).addcmul_(g, g, value=1 - beta_2)
                r = m / ((v / (1 - beta_2**self.steps)).sqrt() + group["eps"])
                u = r + group["weight_decay"] * p
                p.sub_(group["lr"] * p.norm() / u.norm() * u)


# --- pairs of optimizers --------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """Ours for some options, and PyTorch's for a list of parameter groups."""

    ours: Callable[..., Optimizer]
    torch: Callable[[Any], Any]


# with 0.05 and a momentum of 0.9 the weights jump about so that float32 is off by 1.2e-5 after 100
# steps of RMSprop, in PyTorch as here
rates = st.sampled_from([0.001, 0.003, 0.01])
decays = st.sampled_from([0.0, 0.01, 0.1])
betas = st.sampled_from([(0.9, 0.999), (0.7, 0.9), (0.0, 0.99)])
epsilons = st.sampled_from([1e-8, 1e-7, 1e-3])


def sgd(draw: Draw, rate: float) -> Pair:
    """PyTorch's velocity is without the learning rate: the same while that is constant."""
    momentum = draw(st.sampled_from([0.0, 0.5, 0.9]))
    nesterov = momentum > 0 and draw(st.booleans())
    return Pair(
        lambda **shared: SGD(rate, momentum, nesterov, **shared),
        lambda groups: torch.optim.SGD(groups, rate, momentum, nesterov=nesterov),
    )


def adam_options(draw: Draw) -> tuple[dict[str, float], dict[str, Any]]:
    (beta_1, beta_2), epsilon = draw(betas), draw(epsilons)
    ours = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    return ours, {"betas": (beta_1, beta_2), "eps": epsilon}


def adam(draw: Draw, rate: float) -> Pair:
    ours, theirs = adam_options(draw)
    return Pair(
        lambda **shared: Adam(rate, **ours, **shared),
        lambda groups: torch.optim.Adam(groups, rate, decoupled_weight_decay=True, **theirs),
    )


def adamw(draw: Draw, rate: float) -> Pair:
    ours, theirs = adam_options(draw)
    return Pair(
        lambda **shared: AdamW(rate, **ours, **shared),
        lambda groups: torch.optim.AdamW(groups, rate, **theirs),
    )


def nadam(draw: Draw, rate: float) -> Pair:
    """`momentum_decay` is 1 in Keras, as an exponent of 0.96, and 0.004 in PyTorch."""
    ours, theirs = adam_options(draw)
    decay = draw(st.sampled_from([1.0, 0.004]))
    return Pair(
        lambda **shared: Nadam(rate, momentum_decay=decay, **ours, **shared),
        lambda groups: torch.optim.NAdam(
            groups, rate, momentum_decay=decay, decoupled_weight_decay=True, **theirs
        ),
    )


def rmsprop(draw: Draw, rate: float) -> Pair:
    """With an epsilon that does not count it is PyTorch's, which couples weight decay."""
    rho, momentum = draw(st.sampled_from([0.9, 0.99])), draw(st.sampled_from([0.0, 0.9]))
    centered, epsilon = draw(st.booleans()), draw(st.sampled_from([1e-30, 1e-7, 1e-3]))
    options = {"rho": rho, "momentum": momentum, "centered": centered}

    def make(groups: Any) -> Any:
        if epsilon == 1e-30 and not any(group["weight_decay"] for group in groups):
            return torch.optim.RMSprop(
                groups, rate, rho, eps=0, momentum=momentum, centered=centered
            )
        return KerasRMSprop(groups, lr=rate, eps=epsilon, **options)

    return Pair(lambda **shared: RMSprop(rate, epsilon=epsilon, **options, **shared), make)


def lamb(draw: Draw, rate: float) -> Pair:
    ours, theirs = adam_options(draw)
    return Pair(
        lambda **shared: Lamb(rate, **ours, **shared),
        lambda groups: PaperLamb(groups, lr=rate, **theirs),
    )


PAIRS: dict[type[Optimizer], Callable[[Draw, float], Pair]] = {
    SGD: sgd,
    Adam: adam,
    AdamW: adamw,
    Nadam: nadam,
    RMSprop: rmsprop,
    Lamb: lamb,
}


def test_every_optimizer_has_a_twin() -> None:
    assert set(OPTIMIZERS.values()) == PAIRS.keys()


# --- clipping -------------------------------------------------------------------------------


def clip_by_global_norm(params: list[Any], limit: float) -> None:
    """PyTorch divides by the norm + 1e-6, which a larger limit makes good."""
    norm = float(torch.nn.utils.get_total_norm([p.grad for p in params]))
    torch.nn.utils.clip_grad_norm_(params, limit * (1 + 1e-6 / norm))


def clip_each_norm(params: list[Any], limit: float) -> None:
    for p in params:
        clip_by_global_norm([p], limit)


CLIPPING: dict[str, Callable[[list[Any], float], None]] = {
    "global_clipnorm": clip_by_global_norm,
    "clipnorm": clip_each_norm,
    "clipvalue": torch.nn.utils.clip_grad_value_,
}


# --- the trajectories -----------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """The mean of log cosh(a * w - 1) over batches of data `a` of their own at every step."""

    pair: Pair
    weight_decay: float
    clip: tuple[str, float] | None
    batches: int  # gradients that are accumulated for an update
    ema_momentum: float | None
    seed: int

    def start(self) -> Arrays:
        return {name: normal(self.seed, name, *shape) for name, shape in SHAPES.items()}

    def data(self, step: int, batch: int) -> Arrays:
        stream = f"{step}/{batch}"
        return {
            name: normal(self.seed, f"{stream}/{name}", *shape) for name, shape in SHAPES.items()
        }

    def all_data(self) -> list[list[Arrays]]:
        return [[self.data(step, k) for k in range(self.batches)] for step in range(STEPS)]

    def optimizer(self) -> Optimizer:
        options: dict[str, Any] = {"weight_decay": self.weight_decay}
        if self.clip:
            options[self.clip[0]] = self.clip[1]
        if self.ema_momentum is not None:
            options |= {"use_ema": True, "ema_momentum": self.ema_momentum}
        if self.batches > 1:
            options["gradient_accumulation_steps"] = self.batches
        return self.pair.ours(**options)


def torch_trajectory(problem: Problem, data: list[list[Arrays]]) -> list[Any]:
    """Weights after every step, or their average where there is one, joined to one array."""
    model = torch.nn.ParameterDict(
        {name: torch.nn.Parameter(tensor(array)) for name, array in problem.start().items()}
    )
    params = [model[name] for name in SHAPES]
    # weight decay is for kernels alone
    groups = [
        {"params": [model["kernel"]], "weight_decay": problem.weight_decay},
        {"params": [model["bias"], model["gamma"]], "weight_decay": 0.0},
    ]
    optimizer, average = problem.pair.torch(groups), None
    if problem.ema_momentum is not None:
        rule = torch.optim.swa_utils.get_ema_multi_avg_fn(problem.ema_momentum)
        average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=rule)
    trajectory = []
    for batches in data:
        optimizer.zero_grad()
        for batch in batches:
            terms = [(tensor(batch[name]) * p - 1).cosh().log().sum() for name, p in model.items()]
            (torch.stack(terms).sum() / len(batches)).backward()
        if problem.clip:
            CLIPPING[problem.clip[0]](params, problem.clip[1])
        optimizer.step()
        if average is not None:
            average.update_parameters(model)
        shown = params if average is None else [average.module[name] for name in SHAPES]
        trajectory.append(torch.cat([p.detach().reshape(-1) for p in shown]))
    return trajectory


def our_trajectory(problem: Problem, data: list[list[Arrays]], side: Side) -> list[NDArray[Any]]:
    params = {name: Param(shape, Zeros(), decay=name == "kernel") for name, shape in SHAPES.items()}
    store = ParamStore(params, side.device, side.dtype)
    store.set_weights(problem.start())
    optimizer, ctx, trajectory = problem.optimizer(), side.context(), []
    optimizer.prepare(store)
    for step, batches in enumerate(data):
        store.zero_grad()
        for batch in batches:
            for name, param in params.items():
                a = batch[name].astype(side.dtype)
                param.accumulate(np.tanh(a * param.value - 1) * a)
        optimizer.update(ctx, store, optimizer.schedule(step), len(batches))
        with optimizer.averaged(store):
            weights = store.get_weights()
        trajectory.append(np.concatenate([weights[name].reshape(-1) for name in SHAPES]))
    return trajectory


@st.composite
def problems(draw: Draw, kind: type[Optimizer]) -> Problem:
    return Problem(
        pair=PAIRS[kind](draw, draw(rates)),
        weight_decay=draw(decays),
        clip=draw(st.none() | st.tuples(st.sampled_from(list(CLIPPING)), st.just(0.5))),
        batches=draw(st.sampled_from([1, 1, 3])),
        ema_momentum=draw(st.none() | st.sampled_from([0.9, 0.99])),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@pytest.mark.parametrize("kind", PAIRS, ids=lambda kind: kind.__name__)
def test_trajectory(kind: type[Optimizer], count: Callable[[int, str], None]) -> None:
    cases = Cases()

    @settings(max_examples=12)
    @given(problems(kind))
    def property(problem: Problem) -> None:
        data = problem.all_data()
        expected = torch_trajectory(problem, data)
        for side in cases.of_all_sides():
            found = our_trajectory(problem, data, side)
            for step, (one, other) in enumerate(zip(found, expected, strict=True), start=1):
                assert_close(one, other, side, f"the weights after step {step}")

    property()
    count(cases.number, COUNTED)
