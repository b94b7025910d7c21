"""Random changes to training images, between `data_augmentation_options` and `train.augmentation`."""

from collections.abc import Mapping
from typing import Any

from stages.core.tfod.conversion import ConfigConversion
from stages.core.tfod.editing import find_fields
from stages.core.tfod.textformat import Message

OPTIONS = "train_config.data_augmentation_options"
COLOR_STRENGTHS = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.7, "hue": 0.05}
"""What `color_jitter: 1` stands for, as in the table of augmentations."""
COLOR_DEFAULTS = {"brightness": 0.2, "contrast": 1.25, "saturation": 1.25, "hue": 0.02}
"""`max_delta` of the API's `random_adjust_...`; of contrast and saturation it is the largest factor."""
FACTORS = ("contrast", "saturation")
SCALES = {
    "random_scale_crop_and_pad_to_square": ("scale_min", "scale_max", 0.1, 2.0, ""),
    "random_square_crop_by_scale": ("scale_min", "scale_max", 0.6, 1.3, "any scale between them, not one of a few"),
    "random_image_scale": ("min_scale_ratio", "max_scale_ratio", 0.5, 2.0, ""),
}
"""Option to its fields of the smallest and largest scale, their defaults, and how ours differs."""
ONE_STRENGTH = "one strength for brightness, contrast, saturation and hue: the largest asked for"


def import_augmentation(conversion: ConfigConversion) -> None:
    """Sets `train.augmentation`; what the config does not ask for is off."""
    options = _options(conversion)
    plain = {"horizontal_flip": False, "scale_min": 1.0, "scale_max": 1.0}
    conversion.tree.setdefault("train", {}).setdefault(conversion.counterpart.row, {})["augmentation"] = plain
    if "random_horizontal_flip" in options:
        path = options["random_horizontal_flip"]
        often = conversion.number(f"{path}.probability", 0.5)
        if often == 0.5:
            conversion.give(path, "train.augmentation.horizontal_flip", True, whole=True)
        else:
            conversion.excuse(path, f"images are flipped with a probability of 0.5, not {often:g}")
    _import_scales(conversion, options)
    _import_crops(conversion, options)
    _import_colors(conversion, options)
    turns = [options[name] for name in ("random_vertical_flip", "random_rotation90") if name in options]
    for path in turns:
        if len(turns) == 2:
            note = "vertical flips and quarter turns together"
            conversion.give(path, "train.augmentation.orientation_free", True, note, whole=True)
        else:
            conversion.excuse(path, "orientation_free would both turn and flip: set it if your data allows that")
    if "autoaugment_image" in options:
        note = "Model Garden's policy of this kind"
        conversion.give(options["autoaugment_image"], "train.augmentation.policy", "autoaug", note, whole=True)


def augmentation_options(settings: Mapping[str, Any], size: tuple[int, int]) -> tuple[list[dict[str, Any]], list[str]]:
    """The API's options for `train.augmentation`, and the parameters that it has none for.

    Args:
      settings: The section.
      size: (height, width) of the input in pixels.
    """
    options: list[dict[str, Any]] = []
    if settings["horizontal_flip"]:
        options.append({"random_horizontal_flip": {}})
    scales = (settings["scale_min"], settings["scale_max"])
    if scales != (1.0, 1.0):
        low, high = scales
        square = {"output_size": size[0], "scale_min": low, "scale_max": high}
        stretched = {"min_scale_ratio": low, "max_scale_ratio": high}
        is_square = size[0] == size[1]
        options.append(
            {"random_scale_crop_and_pad_to_square": square} if is_square else {"random_image_scale": stretched}
        )
    if settings["orientation_free"]:
        options += [{"random_vertical_flip": {}}, {"random_rotation90": {}}]
    if settings["random_crop"] == 1:
        options.append({"ssd_random_crop": {}})
    elif settings["random_crop"]:
        window = {"min_object_covered": 0.0, "min_aspect_ratio": 0.5, "max_aspect_ratio": 2.0, "min_area": 0.1}
        options.append({"random_crop_image": {**window, "random_coef": _tidy(1 - settings["random_crop"])}})
    if settings["color_jitter"]:
        options += [_color_option(name, settings["color_jitter"] * full) for name, full in COLOR_STRENGTHS.items()]
    if settings["policy"] == "autoaug":
        options.append({"autoaugment_image": {"policy_name": "v0"}})
    missing = [name for name in ("mosaic", "mix_up", "copy_paste") if settings[name]]
    return options, missing + (["policy"] if settings["policy"] == "randaug" else [])


def _color_option(name: str, strength: float) -> dict[str, Any]:
    if name in FACTORS:
        return {f"random_adjust_{name}": {"min_delta": _tidy(1 - strength), "max_delta": _tidy(1 + strength)}}
    return {f"random_adjust_{name}": {"max_delta": _tidy(strength)}}


def _options(conversion: ConfigConversion) -> dict[str, str]:
    """Option to its path; of one that is there twice, the first."""
    options: dict[str, str] = {}
    for index, field in enumerate(find_fields(conversion.message, OPTIONS)):
        for inner in field.value.fields if isinstance(field.value, Message) else ():
            options.setdefault(inner.name, f"{OPTIONS}[{index}].{inner.name}")
    return options


def _import_scales(conversion: ConfigConversion, options: Mapping[str, str]) -> None:
    for name in [name for name in SCALES if name in options][:1]:
        low, high, least, most, note = SCALES[name]
        for key, parameter, default in ((low, "scale_min", least), (high, "scale_max", most)):
            path = f"{options[name]}.{key}"
            conversion.give(path, f"train.augmentation.{parameter}", conversion.number(path, default), note)
        conversion.excuse(f"{options[name]}.output_size", "the size is that of the input")


def _import_crops(conversion: ConfigConversion, options: Mapping[str, str]) -> None:
    if "ssd_random_crop" in options:
        note = "windows as in the SSD paper" if conversion.find(f"{options['ssd_random_crop']}.operations") else ""
        conversion.give(options["ssd_random_crop"], "train.augmentation.random_crop", 1.0, note, whole=True)
    elif "random_crop_image" in options:
        path = f"{options['random_crop_image']}.random_coef"
        often = _tidy(1 - conversion.number(path, 0.0))
        conversion.give(path, "train.augmentation.random_crop", often, "windows as in the SSD paper")
        conversion.excuse(options["random_crop_image"], "windows are those of the SSD paper")


def _import_colors(conversion: ConfigConversion, options: Mapping[str, str]) -> None:
    asked = {}
    for name, full in COLOR_STRENGTHS.items():
        if path := options.get(f"random_adjust_{name}"):
            most = conversion.number(f"{path}.max_delta", COLOR_DEFAULTS[name])
            asked[path] = max(0.0, most - 1 if name in FACTORS else most) / full
    if "random_distort_color" in options:
        asked[options["random_distort_color"]] = 1.0
    strength = float(f"{min(1.0, max(asked.values(), default=0.0)):.4g}")
    for path in asked:
        conversion.give(path, "train.augmentation.color_jitter", strength, ONE_STRENGTH, whole=True)


def _tidy(value: float) -> float:
    """Rounded to what a float32 holds."""
    return float(f"{value:.6g}")
