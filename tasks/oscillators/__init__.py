"""A pendulum and two populations: closed orbits round a centre, each with a conserved energy."""

from tasks.oscillators.simulator import LotkaVolterra, Oscillator, Pendulum

__all__ = ["LotkaVolterra", "Oscillator", "Pendulum"]
