"""A Git-native, content-addressed archive for backtest runs."""

__version__ = "0.1.0"
