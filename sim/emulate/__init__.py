"""Devices that speak their own wire protocols, with the twin's physics (or any other motor) behind them."""
