/* Augmented views of small and large images on a CPU, image by image, so that each stays in the nearest cache.

   Does what harness/data/augment.py does with tensors, in its order and with its formulas, and is tested to be equal to it.
   Compiled on first use by harness/data/native.py; nothing depends on it. Pixels are floats in [0, 255] on the way.
   Pointers that may be null are operations that are off. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const uint8_t *pixels;
    int64_t image_stride, row_stride, column_stride, channel_stride; /* bytes */
    int64_t channels, height, width, size;
    const int64_t *order;    /* (N, 4): 0 brightness, 1 contrast, 2 saturation, 3 hue */
    const uint8_t *jittered; /* (N), like all below */
    const float *brightness, *contrast, *saturation, *hue;
    const uint8_t *grey;
    const int64_t *top, *left, *crop_height, *crop_width;
    const uint8_t *flip;
    const uint8_t *blurred;
    const float *blur_sigma;
    int64_t blur_radius;
    const uint8_t *solarised;
    float threshold;           /* in [0, 255] */
    const float *scale, *shift; /* (C): a normalised value is scale x pixel + shift */
    float *out;                /* (N, C, size, size) */
} Batch;

/* Which rows make each resulting row, and with what weights. */
typedef struct {
    int32_t *count, *row; /* (size), (size, most) */
    float *weight;        /* (size, most) */
    int64_t most;
} Taps;

static inline float smaller(float a, float b) { return a < b ? a : b; }
static inline float larger(float a, float b) { return a > b ? a : b; }
static inline float clamped(float v, float low, float high) { return smaller(larger(v, low), high); }
static inline float luma(float r, float g, float b) { return 0.2989f * r + 0.587f * g + 0.114f * b; }

static void load(const Batch *b, int64_t image, float *const *plane) {
    for (int64_t c = 0; c < b->channels; c++)
        for (int64_t y = 0; y < b->height; y++) {
            const uint8_t *from = b->pixels + image * b->image_stride + y * b->row_stride + c * b->channel_stride;
            float *to = plane[c] + y * b->width;
            if (b->column_stride == 1)
                for (int64_t x = 0; x < b->width; x++) to[x] = from[x];
            else if (b->column_stride == 3)
                for (int64_t x = 0; x < b->width; x++) to[x] = from[3 * x];
            else
                for (int64_t x = 0; x < b->width; x++) to[x] = from[x * b->column_stride];
        }
}

/* factor x pixel + constant, clamped. */
static void scale_plane(float *restrict p, int64_t pixels, float factor, float constant) {
    for (int64_t i = 0; i < pixels; i++) p[i] = clamped(factor * p[i] + constant, 0.0f, 255.0f);
}

static double sum(const float *p, int64_t pixels) {
    double total = 0.0;
    for (int64_t start = 0; start < pixels; start += 1024) {
        int64_t stop = start + 1024 < pixels ? start + 1024 : pixels;
        float block = 0.0f;
#pragma omp simd reduction(+ : block)
        for (int64_t i = start; i < stop; i++) block += p[i];
        total += block;
    }
    return total;
}

static float mean_luma(float *const *plane, int64_t channels, int64_t pixels) {
    if (channels == 1) return (float)(sum(plane[0], pixels) / pixels);
    double total = 0.2989 * sum(plane[0], pixels) + 0.587 * sum(plane[1], pixels) + 0.114 * sum(plane[2], pixels);
    return (float)(total / pixels);
}

/* Towards the grey of each pixel; factor 0 is greyscale. */
static void saturate(float *restrict r, float *restrict g, float *restrict b, int64_t pixels, float factor) {
    for (int64_t i = 0; i < pixels; i++) {
        float base = (1.0f - factor) * luma(r[i], g[i], b[i]);
        r[i] = clamped(factor * r[i] + base, 0.0f, 255.0f);
        g[i] = clamped(factor * g[i] + base, 0.0f, 255.0f);
        b[i] = clamped(factor * b[i] + base, 0.0f, 255.0f);
    }
}

/* See rotate_hue_ in colour.py. */
static void rotate_hue(float *restrict r, float *restrict g, float *restrict b, int64_t pixels, float sixths) {
    for (int64_t i = 0; i < pixels; i++) {
        float red = r[i], green = g[i], blue = b[i];
        float most = larger(red, green), least = smaller(red, green);
        float high = larger(most, blue), low = smaller(least, blue);
        float mid = larger(smaller(most, blue), least), flank = (high - low) * sixths;
        r[i] = clamped(2.0f * red - mid + (blue > green ? flank : -flank), low, high);
        g[i] = clamped(2.0f * green - mid + (red > blue ? flank : -flank), low, high);
        b[i] = clamped(2.0f * blue - mid + (green > red ? flank : -flank), low, high);
    }
}

static void jitter(const Batch *b, int64_t image, float **plane) {
    int64_t pixels = b->height * b->width, channels = b->channels;
    for (int slot = 0; slot < 4; slot++) {
        int64_t operation = b->order[4 * image + slot];
        if (operation == 0 && b->brightness) {
            for (int64_t c = 0; c < channels; c++) scale_plane(plane[c], pixels, b->brightness[image], 0.0f);
        } else if (operation == 1 && b->contrast) {
            float factor = b->contrast[image];
            float constant = (1.0f - factor) * mean_luma(plane, channels, pixels);
            for (int64_t c = 0; c < channels; c++) scale_plane(plane[c], pixels, factor, constant);
        } else if (operation == 2 && b->saturation && channels == 3) {
            saturate(plane[0], plane[1], plane[2], pixels, b->saturation[image]);
        } else if (operation == 3 && b->hue && channels == 3) {
            int thirds = (int)lrintf(b->hue[image] * 3.0f);
            float *rolled[3]; /* a third of a turn is another name for the channels */
            for (int c = 0; c < 3; c++) rolled[c] = plane[(c - thirds + 3) % 3];
            memcpy(plane, rolled, sizeof rolled);
            rotate_hue(plane[0], plane[1], plane[2], pixels, 6.0f * b->hue[image] - 2.0f * thirds);
        }
    }
}

/* a = -0.5; without branches, as both polynomials vanish at 1 and the outer one at 2. */
static inline float cubic(float x) {
    float near = smaller(fabsf(x), 1.0f), far = clamped(fabsf(x), 1.0f, 2.0f);
    return (1.5f * near - 2.5f) * near * near + 1.0f + ((-0.5f * far + 2.5f) * far - 4.0f) * far + 2.0f;
}

/* Antialiased bicubic weights from `length` rows to `size`, mirrored if asked. */
static void resize_taps(Taps *t, int64_t length, int64_t size, int mirrored) {
    double scale = (double)length / size, widening = fmax(scale, 1.0), narrowing = 1.0 / widening;
    for (int64_t i = 0; i < size; i++) {
        double centre = ((mirrored ? size - 1 - i : i) + 0.5) * scale;
        int64_t first = (int64_t)fmax(0.0, floor(centre - 2.0 * widening + 0.5));
        int64_t last = (int64_t)fmin(length, floor(centre + 2.0 * widening + 0.5)), count = last - first;
        float *weight = t->weight + i * t->most, total = 0.0f;
        float start = (float)((first + 0.5 - centre) * narrowing), step = (float)narrowing;
        for (int64_t k = 0; k < count; k++) total += weight[k] = cubic(start + k * step);
        for (int64_t k = 0; k < count; k++) {
            weight[k] /= total;
            t->row[i * t->most + k] = first + k;
        }
        t->count[i] = count;
    }
}

/* Gaussian weights with reflected borders. */
static void blur_taps(Taps *t, int64_t size, int64_t radius, float sigma) {
    for (int64_t i = 0; i < size; i++) {
        double total = 0.0;
        for (int64_t k = -radius; k <= radius; k++) total += exp(-0.5 * k * k / ((double)sigma * sigma));
        for (int64_t k = -radius; k <= radius; k++) {
            int64_t row = i + k < 0 ? -(i + k) : i + k >= size ? 2 * (size - 1) - (i + k) : i + k;
            t->row[i * t->most + k + radius] = row;
            t->weight[i * t->most + k + radius] = exp(-0.5 * k * k / ((double)sigma * sigma)) / total;
        }
        t->count[i] = 2 * radius + 1;
    }
}

/* to (size, width) = weighted rows of from (rows, stride). */
static void mix_rows(const Taps *t, const float *restrict from, int64_t stride, int64_t size, int64_t width,
                     float *restrict to) {
    for (int64_t i = 0; i < size; i++, to += width) {
        const int32_t *row = t->row + i * t->most;
        const float *weight = t->weight + i * t->most;
        int64_t k = 0, count = t->count[i];
        memset(to, 0, width * sizeof *to);
        for (; k + 4 <= count; k += 4) {
            const float *a = from + row[k] * stride, *b = from + row[k + 1] * stride;
            const float *c = from + row[k + 2] * stride, *d = from + row[k + 3] * stride;
            float wa = weight[k], wb = weight[k + 1], wc = weight[k + 2], wd = weight[k + 3];
            for (int64_t x = 0; x < width; x++) to[x] += wa * a[x] + wb * b[x] + wc * c[x] + wd * d[x];
        }
        for (; k < count; k++) {
            const float *a = from + row[k] * stride;
            float w = weight[k];
            for (int64_t x = 0; x < width; x++) to[x] += w * a[x];
        }
    }
}

/* to (columns, rows) = from (rows, columns), eight rows at a time: eight streams in, one out. */
static void transpose(const float *restrict from, int64_t rows, int64_t columns, float *restrict to) {
    int64_t y = 0;
    for (; y + 8 <= rows; y += 8) {
        const float *in = from + y * columns;
        for (int64_t x = 0; x < columns; x++)
            for (int k = 0; k < 8; k++) to[x * rows + y + k] = in[k * columns + x];
    }
    for (; y < rows; y++)
        for (int64_t x = 0; x < columns; x++) to[x * rows + y] = from[y * columns + x];
}

static int new_taps(Taps *t, int64_t size, int64_t most) {
    t->most = most;
    t->count = malloc(size * sizeof(int32_t));
    t->row = malloc(size * most * sizeof(int32_t));
    t->weight = malloc(size * most * sizeof(float));
    return t->count && t->row && t->weight;
}

static void free_taps(Taps *t) {
    free(t->count);
    free(t->row);
    free(t->weight);
}

static void view(const Batch *b, int64_t image, float **plane, float *one, float *two, Taps *down, Taps *across,
                 Taps *soft) {
    int64_t size = b->size, width = b->crop_width[image], area = size * size;
    load(b, image, plane);
    if (b->jittered && b->jittered[image]) jitter(b, image, plane);
    if (b->grey && b->grey[image] && b->channels == 3)
        saturate(plane[0], plane[1], plane[2], b->height * b->width, 0.0f);
    resize_taps(down, b->crop_height[image], size, 0);
    resize_taps(across, width, size, b->flip && b->flip[image]);
    int blurred = b->blurred && b->blurred[image], solarised = b->solarised && b->solarised[image];
    int64_t radius = b->blur_radius < size - 1 ? b->blur_radius : size - 1;
    if (blurred) blur_taps(soft, size, radius, b->blur_sigma[image]);
    for (int64_t c = 0; c < b->channels; c++) {
        const float *corner = plane[c] + b->top[image] * b->width + b->left[image];
        mix_rows(down, corner, b->width, size, width, one);
        transpose(one, size, width, two);
        mix_rows(across, two, size, size, size, one);
        for (int64_t i = 0; i < area; i++) one[i] = clamped(one[i], 0.0f, 255.0f);
        if (blurred) {
            mix_rows(soft, one, size, size, size, two);
            transpose(two, size, size, one);
            mix_rows(soft, one, size, size, size, two);
        } else {
            transpose(one, size, size, two);
        }
        if (solarised)
            for (int64_t i = 0; i < area; i++) two[i] = two[i] >= b->threshold ? 255.0f - two[i] : two[i];
        float *out = b->out + (image * b->channels + c) * area, scale = b->scale[c], shift = b->shift[c];
        for (int64_t i = 0; i < area; i++) out[i] = scale * two[i] + shift;
    }
}

/* Views of images first to last; 0, or 1 where memory ran out. */
int augment_views(const Batch *b, int64_t first, int64_t last) {
    int64_t pixels = b->height * b->width, longest = b->height > b->width ? b->height : b->width, size = b->size;
    int64_t area = size * (longest > size ? longest : size), most = 4 * (longest / size + 2) + 2;
    float *memory = malloc((b->channels * pixels + 2 * area) * sizeof(float));
    Taps down, across, soft;
    int enough = memory != NULL;
    enough &= new_taps(&down, size, most);
    enough &= new_taps(&across, size, most);
    enough &= new_taps(&soft, size, 2 * b->blur_radius + 1);
    for (int64_t image = first; enough && image < last; image++) {
        float *plane[3];
        for (int64_t c = 0; c < b->channels; c++) plane[c] = memory + c * pixels;
        float *one = memory + b->channels * pixels;
        view(b, image, plane, one, one + area, &down, &across, &soft);
    }
    free(memory);
    free_taps(&down);
    free_taps(&across);
    free_taps(&soft);
    return !enough;
}
