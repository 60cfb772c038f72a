"""Distribution functions, imported lazily: `scipy.special` takes a third of a second, `scipy.stats` a whole one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def student_cdf(t: Any, df: Any) -> Floats:
    """P(T <= t) for Student's t with `df` degrees of freedom; broadcasts."""
    from scipy.special import stdtr

    return np.asarray(stdtr(df, t), dtype=np.float64)


def student_quantile(q: Any, df: Any) -> Floats:
    """The `q` quantile of Student's t with `df` degrees of freedom; broadcasts."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(df, q), dtype=np.float64)


def normal_cdf(z: Any) -> Floats:
    from scipy.special import ndtr

    return np.asarray(ndtr(z), dtype=np.float64)


def normal_quantile(q: Any) -> Floats:
    from scipy.special import ndtri

    return np.asarray(ndtri(q), dtype=np.float64)


def chi2_sf(x: Any, df: Any) -> Floats:
    """P(X > x) for chi-squared with `df` degrees of freedom; broadcasts."""
    from scipy.special import chdtrc

    return np.asarray(chdtrc(df, x), dtype=np.float64)


def f_sf(x: Any, dfn: Any, dfd: Any) -> Floats:
    """P(X > x) for Fisher's F with (`dfn`, `dfd`) degrees of freedom; broadcasts."""
    from scipy.special import fdtrc

    return np.asarray(fdtrc(dfn, dfd, x), dtype=np.float64)


def noncentral_t_cdf(t: float, df: float, nc: float) -> float:
    """P(T <= t) for the noncentral t with noncentrality `nc`."""
    from scipy.special import nctdtr

    return float(nctdtr(df, nc, t))
