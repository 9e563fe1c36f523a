//! Point-in-time training sets, fits, calibration, leakage probes, backtests and model cards.
