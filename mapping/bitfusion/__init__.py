"""The mapper of the BitFusion lineage: square layers in tiles that half of each SRAM holds."""

from .layer import SquareLayer
from .machine import Costs, Machine
from .rules import RULES, Rule
from .schedule import Schedule, best_schedule

__all__ = ["RULES", "Costs", "Machine", "Rule", "Schedule", "SquareLayer", "best_schedule"]
