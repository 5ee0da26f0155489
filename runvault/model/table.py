"""A table as plain arrays: what engines hand over and stores write, with no data frame library between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Table:
    """Named columns of equal length.

    Parameters
    ----------
    columns : mapping of str to one-dimensional arrays
        Floats, integers, booleans, ``datetime64[ns]`` (UTC where the column has a time zone), or dtype object
        holding `str` and None.
    time_zones : mapping of str to str
        IANA name (or a fixed offset such as ``+02:00``) of the zone in which a time column is to be shown.

    Examples
    --------
    >>> Table({"bar": np.array([0, 1])}).n_rows
    2
    """

    columns: Mapping[str, Array]
    time_zones: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Return the number of rows; 0 for a table without columns."""
        return len(next(iter(self.columns.values()), np.empty(0)))

    def holds_same(self, other: Table) -> bool:
        """Tell whether both hold the same bits under the same names, so that they are written as the same bytes.

        Examples
        --------
        >>> Table({"x": np.array([0.0])}).holds_same(Table({"x": np.array([-0.0])}))
        False
        """
        return (
            list(self.columns) == list(other.columns)
            and self.time_zones == other.time_zones
            and all(_same_bits(values, other.columns[name]) for name, values in self.columns.items())
        )


def _same_bits(one: Array, other: Array) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.tolist() == other.tolist() if one.dtype.hasobject else one.tobytes() == other.tobytes()
