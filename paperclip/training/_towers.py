# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Both towers as one module, from pictures and tokens to unit rows."""

import functools

__all__ = ["towers_class"]


@functools.cache
def towers_class():
    """Return the class; it is made late, as torch is heavy."""
    import torch
    from torch.nn.functional import normalize

    class Towers(torch.nn.Module):
        def __init__(self, clip, text, preprocessing):
            super().__init__()
            self.clip = clip
            self.text = text
            std = torch.tensor(preprocessing.std).view(3, 1, 1)
            mean = torch.tensor(preprocessing.mean).view(3, 1, 1)
            self.register_buffer("factor", 1 / (255 * std), persistent=False)
            self.register_buffer("shift", -mean / std, persistent=False)

        def pixels(self, frames):
            """Return the input of the image tower."""
            # (n, height, width, 3) seen as channels last
            return frames.permute(0, 3, 1, 2).float() * self.factor + self.shift

        def forward(self, frames, ids):
            """
            Return unit rows.

            Either input may be None, or the rows that a frozen tower gave for
            it before the head: floats instead of integers.
            """
            image = text = None
            if frames is not None:
                if frames.is_floating_point():
                    image = self._headed("image", frames)
                else:
                    image = self.clip.encode_image(self.pixels(frames))
                image = normalize(image.float(), dim=-1)
            if ids is not None:
                if ids.is_floating_point():
                    text = self._headed("text", ids)
                else:
                    text = self.text(ids)
                text = normalize(text.float(), dim=-1)
            return image, text

        def _headed(self, side, rows):
            head = getattr(self.clip, f"{side}_head", None)
            return rows if head is None else head(rows)

    return Towers
