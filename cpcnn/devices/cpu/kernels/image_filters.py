"""Passes over whole stored images: their mean colour, autocontrast, equalize, sharpness."""

from __future__ import annotations

import numpy as np

from .jit import kernel, part

VALUES = 256


@kernel
def mean_colour(rows, shape, index, means, nothing, start, stop):
    """Write the mean of every channel of images of `shape` (H, W, C).

    rows (M, H, W * C); `nothing` is an empty array of the type in which columns are summed, where
    those of uint8 are exact.
    """
    height, width, found = shape
    columns = np.empty(rows.shape[2], nothing.dtype)
    for n in range(start, stop):
        image = rows[index[n]] if len(index) > 0 else rows[n]
        columns[:] = 0
        for i in range(height):
            row = image[i]
            for k in range(len(columns)):
                columns[k] += row[k]
        for c in range(found):
            total = 0.0
            for j in range(width):
                total += columns[j * found + c]
            means[n, c] = total / (height * width)


@part
def count_values(image, c, histogram):
    """Count the values of a channel."""
    histogram[:] = 0
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            histogram[image[i, j, c]] += 1


@part
def stretch(histogram, table):
    """Write the table from the least value to 0 and the largest to 255."""
    least, most = 0, VALUES - 1
    while least < most and histogram[least] == 0:
        least += 1
    while most > least and histogram[most] == 0:
        most -= 1
    span = most - least
    for value in range(VALUES):
        if span == 0:
            table[value] = value
        else:
            stretched = (255 * (min(max(value, least), most) - least) + span // 2) // span
            table[value] = stretched


@part
def equalize(histogram, table):
    """Write the table in which the number of pixels below a value says where it goes."""
    total, last = 0, 0
    for value in range(VALUES):
        total += histogram[value]
        last = histogram[value] if histogram[value] > 0 else last
    step = (total - last) // 255
    below = 0
    for value in range(VALUES):
        table[value] = value if step == 0 else min((below + step // 2) // step, 255)
        below += histogram[value]


@part
def look_up(image, c, table):
    """Replace the values of a channel by those of the table."""
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            image[i, j, c] = table[image[i, j, c]]


@part
def sharpen(image, sharpness, above, here):
    """Sharpen an image in place; `above` and `here` (W, C) keep the rows that were written over."""
    height, width, found = image.shape
    if height < 3 or width < 3:
        return
    above[:] = image[0]
    for i in range(1, height - 1):
        here[:] = image[i]
        below = image[i + 1]
        for j in range(1, width - 1):
            for c in range(found):
                pixel = np.int32(here[j, c])
                total = 4 * pixel
                for k in range(j - 1, j + 2):
                    total += np.int32(above[k, c]) + np.int32(here[k, c]) + np.int32(below[k, c])
                smooth = (total + 6) // 13
                sharp = (256 * smooth + sharpness * (pixel - smooth) + 128) >> 8
                image[i, j, c] = min(max(sharp, 0), 255)
        above, here = here, above


@kernel
def filter_images(images, index, settings, out, start, stop):
    """Write uint8 images (N, H, W, C), filtered as settings (N, 3) say."""
    _, _, width, found = images.shape
    histogram, table = np.empty(VALUES, np.int64), np.empty(VALUES, np.uint8)
    above, here = np.empty((width, found), np.uint8), np.empty((width, found), np.uint8)
    for n in range(start, stop):
        image = out[n]
        image[:] = images[index[n]] if len(index) > 0 else images[n]
        for c in range(found):
            if settings[n, 0] != 0:
                count_values(image, c, histogram)
                stretch(histogram, table)
                look_up(image, c, table)
            if settings[n, 1] != 0:
                count_values(image, c, histogram)
                equalize(histogram, table)
                look_up(image, c, table)
        if settings[n, 2] != 256:
            sharpen(image, settings[n, 2], above, here)
