"""Trajectories of z' = C Theta(z) in numpy: many starts at once, those that run off left behind."""

import numpy as np

from discover.equations.library import PolynomialLibrary

__all__ = ["FAR", "Rate", "euler", "runge_kutta"]

FAR = 1e6  # over the size of the starts: beyond it a trajectory counts as gone


class Rate:
    """C Theta(z) for z (..., k), as quickly as numpy can for few points."""

    def __init__(self, library: PolynomialLibrary, coefficients: np.ndarray):
        used = coefficients.any(axis=0)
        self.factors, self.coefficients = library.factors.numpy()[used], coefficients[:, used].T

    def __call__(self, z: np.ndarray) -> np.ndarray:
        padded = np.concatenate([z, np.ones((*z.shape[:-1], 1))], axis=-1)
        return padded[..., self.factors].prod(axis=-1) @ self.coefficients


def euler(rate: Rate, starts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """One explicit step between each two times: starts (m, k), times (T,) to (T, m, k)."""
    points = [starts]
    with np.errstate(over="ignore", invalid="ignore"):
        for step in np.diff(times):
            points.append(points[-1] + step * rate(points[-1]))
    return np.stack(points)


def runge_kutta(rate: Rate, starts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Adaptive, of order 8, all starts as one system: (m, k), (T,) to (T, m, k), NaN from where one has run off.

    When the farthest one is gone, the others go on from there without it.
    """
    answer = np.full((len(times), *starts.shape), np.nan)
    answer[0] = starts
    alive = np.flatnonzero(np.isfinite(starts).all(axis=1))
    here, now, done = starts[alive], times[0], 1
    while len(alive) and done < len(times):
        far = FAR * (1 + np.abs(starts[alive]).max())
        found, now, here = _until_one_is_gone(rate, here, now, times[done:], far)
        answer[done : done + len(found), alive] = found
        done += len(found)
        if done < len(times):
            stay = np.arange(len(alive)) != np.abs(here).max(axis=1).argmax()
            alive, here = alive[stay], here[stay]
    return answer


def _until_one_is_gone(
    rate: Rate, here: np.ndarray, now: float, times: np.ndarray, far: float
) -> tuple[np.ndarray, float, np.ndarray]:
    """Points (t, m, k) at as many of ``times`` as were reached, and when and where the last step ended."""
    from scipy.integrate import DOP853

    with np.errstate(over="ignore", invalid="ignore"):
        solver = DOP853(
            lambda _, flat: rate(flat.reshape(here.shape)).ravel(), now, here.ravel(), times[-1], rtol=1e-9, atol=1e-12
        )  # fmt: skip
        found: list[np.ndarray] = []
        while solver.status == "running" and np.abs(solver.y).max() <= far:
            solver.step()
            behind = (times - solver.t) * solver.direction <= 0
            fresh = np.flatnonzero(behind)[len(found) :]
            if len(fresh):
                found.extend(solver.dense_output()(times[fresh]).T.reshape(-1, *here.shape))
    points = np.stack(found) if found else np.empty((0, *here.shape))
    return points, float(solver.t), solver.y.reshape(here.shape)
