"""The control plane: what decides about jobs on one machine and on a cluster alike. It talks to two ports: `Resources`
(what is true) and `Carriers` (who executes an attempt); whatever differs between the two deployments is behind them.
"""
