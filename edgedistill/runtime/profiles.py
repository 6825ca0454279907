"""Choose the profile of a palette that describes this machine."""

from __future__ import annotations

from edgedistill.errors import PaletteError
from edgedistill.palette import DeviceProfile, Palette
from edgedistill.runtime.device import cpu_name, device_name

__all__ = ["choose_profile"]

_KINDS = ("measured", "quick", "estimated")


def choose_profile(palette: Palette, name: str | None = None) -> DeviceProfile | None:
    """Return the profile of that name; without a name the closest to this machine, or None.

    The order is: measured under this machine's name on the same processor, under its name, on the same processor,
    estimated; of two equal ones, a full profile before a quick one. A profile that lacks a subnet, or was measured
    under emulation, is only used by name.

    Raises:
        PaletteError: the named profile is missing, or lacks a subnet.
    """
    if name is not None:
        return _named(palette, name)
    here, cpu = device_name(), cpu_name()
    usable = [p for p in palette.profiles.values() if _missing(palette, p) is None and not p.device.emulated]
    usable.sort(key=lambda profile: _KINDS.index(profile.kind))
    measured = [profile for profile in usable if profile.kind != "estimated"]
    preferences = (
        *(p for p in measured if (p.device.name, p.device.cpu) == (here, cpu)),
        *(p for p in measured if p.device.name == here),
        *(p for p in measured if p.device.cpu == cpu),
        *(p for p in usable if p.kind == "estimated"),
    )
    return next(iter(preferences), None)


def _named(palette: Palette, name: str) -> DeviceProfile:
    profile = palette.profiles.get(name)
    if profile is None:
        if name in palette.unusable_profiles:
            raise PaletteError(palette.unusable_profiles[name])
        names = ", ".join(sorted(palette.profiles)) or "none"
        raise PaletteError(f"no profile {name!r} of this palette; it has {names}")
    missing = _missing(palette, profile)
    if missing is not None:
        raise PaletteError(f"the profile {name!r} has no figures of {missing}; profile the palette again")
    return profile


def _missing(palette: Palette, profile: DeviceProfile) -> str | None:
    return next((entry.name for entry in palette.manifest.subnets if profile.subnet(entry.name) is None), None)
