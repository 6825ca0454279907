"""Read the state of the machine by small sensors, each optional, None for no reading.

`SystemSensors` reads them all. One file a subject; each sensor reads below a ``root`` that stands for "/",
so that a copied tree of a board can be read as well.
"""

from edgedistill.runtime.sensors.cpu import CpuSensor
from edgedistill.runtime.sensors.free_memory import free_memory_mb
from edgedistill.runtime.sensors.readings import Readings, Sensors
from edgedistill.runtime.sensors.system import SystemSensors

__all__ = ["CpuSensor", "Readings", "Sensors", "SystemSensors", "free_memory_mb"]
