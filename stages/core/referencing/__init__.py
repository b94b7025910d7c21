"""The float model's outputs on the evaluation split, which every converted file is compared with."""
