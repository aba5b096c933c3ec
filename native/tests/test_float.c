/* mpm_float_write: a table of texts known from Python, and over doubles of many
 * kinds: the text reads back, none shorter does, none as short is closer.
 * Prints what failed; the exit status says whether.
 *
 * The model is the C library, in the C locale: strtod reads a text back,
 * and snprintf("%.*e") gives the closest decimal of so many digits.  Where the
 * core may use neither, a test may.  test_float SEED COUNT takes other doubles
 * and more of them. */
#include "core.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void
fail(const char *what, double x, const char *expected, const char *actual)
{
    if (++failures <= 20)
        printf("%s: %a: expected %s, got %s\n", what, x, expected, actual);
}

static uint64_t
bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static double
double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

typedef struct {
    char text[2 * MPM_FLOAT_MAX];
} line;

/* From a block of the very size promised, so that the address sanitizer sees
 * a store beyond it. */
static line
written(double x)
{
    char *block = malloc(MPM_FLOAT_MAX);
    if (block == NULL)
        abort();
    const size_t length = mpm_float_write(block, x);
    if (length > MPM_FLOAT_MAX)
        abort();

    line l = {{0}};
    memcpy(l.text, block, length);
    free(block);
    return l;
}

/* ---- the table ---------------------------------------------------------- */

static const struct {
    double x;
    const char *text; /* prometheus_client 0.26, Python 3.11 */
} known[] = {
    {INFINITY, "+Inf"},
    {-INFINITY, "-Inf"},
    {NAN, "NaN"},
    {-NAN, "NaN"},
    {0.0, "0.0"},
    {-0.0, "-0.0"},

    /* integers, and where Go changes to an exponent */
    {1.0, "1.0"},
    {-1.0, "-1.0"},
    {9.0, "9.0"},
    {10.0, "10.0"},
    {100.0, "100.0"},
    {123456.0, "123456.0"},
    {999999.0, "999999.0"},
    {999999.5, "999999.5"},
    {999999.9999999999, "999999.9999999999"},
    {1000000.0, "1e+06"},
    {1000000.5, "1.0000005e+06"},
    {1234567.0, "1.234567e+06"},
    {1234500.0, "1.2345e+06"},
    {10000000.0, "1e+07"},
    {1e10, "1e+10"},
    {100000000000.5, "1.000000000005e+11"},
    {1700000000.123, "1.700000000123e+09"},
    {1e15, "1e+15"},
    {1234567890123456.0, "1.234567890123456e+15"},
    {9007199254740991.0, "9.007199254740991e+15"},
    {9007199254740992.0, "9.007199254740992e+15"},
    {9007199254740994.0, "9.007199254740994e+15"},
    {9999999999999998.0, "9.999999999999998e+15"},
    {1e16, "1e+16"},
    {12345678901234568.0, "1.2345678901234568e+16"},
    {1e17, "1e+17"},
    {1e22, "1e+22"},
    {1e23, "1e+23"},
    {1e100, "1e+100"},

    /* the negative keep Python's layout, up to 10^16 */
    {-999999.0, "-999999.0"},
    {-1000000.0, "-1000000.0"},
    {-1234567.0, "-1234567.0"},
    {-12345678.25, "-12345678.25"},
    {-123456789.25, "-123456789.25"},
    {-100000000000.5, "-100000000000.5"},
    {-1e15, "-1000000000000000.0"},
    {-1234567890123456.8, "-1234567890123456.8"},
    {-9999999999999998.0, "-9999999999999998.0"},
    {-1e16, "-1e+16"},

    /* fractions, and where Python changes to an exponent */
    {0.1, "0.1"},
    {-0.1, "-0.1"},
    {0.5, "0.5"},
    {0.005, "0.005"},
    {0.25, "0.25"},
    {1.5, "1.5"},
    {2.5, "2.5"},
    {12.34, "12.34"},
    {0.1 + 0.2, "0.30000000000000004"},
    {1.0 / 3, "0.3333333333333333"},
    {2.0 / 3, "0.6666666666666666"},
    {100.0 / 3, "33.333333333333336"},
    {123456.789, "123456.789"},
    {0.001, "0.001"},
    {0.0001, "0.0001"},
    {0.00012345678901234567, "0.00012345678901234567"},
    {-0.00012345678901234567, "-0.00012345678901234567"},
    {0.00009999999999999999, "9.999999999999999e-05"},
    {0.00001, "1e-05"},
    {-0.000012, "-1.2e-05"},
    {1e-10, "1e-10"},
    {1e-99, "1e-99"},
    {1e-100, "1e-100"},

    /* the ends of the range */
    {0x1p-1074, "5e-324"},
    {0x1p-1073, "1e-323"},
    {0x3p-1074, "1.5e-323"},
    {0x1p-1071, "4e-323"},
    {0x0.fffffffffffffp-1022, "2.225073858507201e-308"},
    {0x1p-1022, "2.2250738585072014e-308"},
    {-0x1p-1022, "-2.2250738585072014e-308"},
    {0x1.fffffffffffffp+1023, "1.7976931348623157e+308"},
    {-0x1.fffffffffffffp+1023, "-1.7976931348623157e+308"},

    /* 5e22, 7e22 and 1e23 lie half way between two doubles: they belong to
     * the one whose last bit is even, its neighbour needs 17 digits */
    {0x1.52d02c7e14af6p+75, "5e+22"},
    {0x1.52d02c7e14af7p+75, "5.0000000000000004e+22"},
    {0x1.da56a4b0835bfp+75, "6.9999999999999996e+22"},
    {0x1.da56a4b0835c0p+75, "7e+22"},
    {0x1.52d02c7e14af6p+76, "1e+23"},
    {0x1.52d02c7e14af7p+76, "1.0000000000000001e+23"},
    {9.5e-322, "9.5e-322"},
    {8.41e21, "8.41e+21"},
    {9.5367431640625e-07, "9.5367431640625e-07"},
    {2.0919495182368195e19, "2.0919495182368195e+19"},

    /* two of the same length equally close: the even digit */
    {0x1p-44, "5.684341886080802e-14"},
    {0x1p-24, "5.960464477539063e-08"},
    {-0x1.0000000000001p+54, "-1.8014398509481988e+16"},

    /* powers of two: the interval is lopsided */
    {0x1p+89, "6.189700196426902e+26"},
    {0x1p-1021, "4.450147717014403e-308"},
    {0x1p+1023, "8.98846567431158e+307"},
    {0x1p+976, "6.386688990511104e+293"},
    {0x1p-735, "5.5329046628180653e-222"},
};

static void
test_known(void)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const line l = written(known[i].x);
        if (strcmp(known[i].text, l.text) != 0)
            fail("known", known[i].x, known[i].text, l.text);
    }
}

/* ---- the properties ----------------------------------------------------- */

/* x == +-0.d1 d2 .. dn * 10^point, read out of a text in any layout */
typedef struct {
    char digits[MPM_FLOAT_MAX + 1]; /* no zero at either end */
    int count;
    int point;
} parts;

static parts
taken_apart(const char *text)
{
    parts p = {{0}, 0, 0};
    bool fraction = false;

    for (text += *text == '-'; *text != '\0' && *text != 'e'; text++) {
        if (*text == '.') {
            fraction = true;
        } else if (p.count == 0 && *text == '0') {
            p.point -= fraction;
        } else {
            p.digits[p.count++] = *text;
            p.point += !fraction;
        }
    }
    if (*text == 'e')
        p.point += atoi(text + 1);
    while (p.count > 0 && p.digits[p.count - 1] == '0')
        p.digits[--p.count] = '\0';
    return p;
}

/* The same digits as floatToGoString lays them out, by its own rules: first
 * Python's repr, then, if that is positive and its point is late, Go's. */
static line
laid_out(parts p, bool negative)
{
    line l = {{0}};
    const size_t size = sizeof(l.text);
    const char *sign = negative ? "-" : "";
    const char *zeros = "0000000000000000";
    const bool scientific = p.point > 16 || p.point < -3;

    if (scientific || (!negative && p.point > 6))
        snprintf(l.text, size, "%s%c%s%se%+03d", sign, p.digits[0],
                 p.count > 1 ? "." : "", p.digits + 1, p.point - 1);
    else if (p.point <= 0)
        snprintf(l.text, size, "%s0.%.*s%s", sign, -p.point, zeros, p.digits);
    else if (p.point >= p.count)
        snprintf(l.text, size, "%s%s%.*s.0", sign, p.digits, p.point - p.count,
                 zeros);
    else
        snprintf(l.text, size, "%s%.*s.%s", sign, p.point, p.digits,
                 p.digits + p.point);
    return l;
}

static bool
reads_back(const char *text, double x)
{
    char *end;
    return bits_of(strtod(text, &end)) == bits_of(x) && *end == '\0';
}

/* One digit fewer, rounded down or up, must not do. */
static void
check_shortest(double x, parts p, bool negative)
{
    if (p.count < 2)
        return;

    uint64_t n = 0;
    for (int i = 0; i < p.count - 1; i++)
        n = 10 * n + (uint64_t)(p.digits[i] - '0');
    for (uint64_t up = 0; up <= 1; up++) {
        char shorter[2 * MPM_FLOAT_MAX];
        snprintf(shorter, sizeof(shorter), "%s%" PRIu64 "e%d",
                 negative ? "-" : "", n + up, p.point - (p.count - 1));
        if (reads_back(shorter, x))
            fail("shortest", x, shorter, p.digits);
    }
}

/* If the closest decimal of as many digits reads back, it is ours. */
static void
check_closest(double x, parts p, bool negative)
{
    char closest[2 * MPM_FLOAT_MAX];
    snprintf(closest, sizeof(closest), "%.*e", p.count - 1, x);
    if (!reads_back(closest, x))
        return;

    const line expected = laid_out(taken_apart(closest), negative);
    const line actual = laid_out(p, negative);
    if (strcmp(expected.text, actual.text) != 0)
        fail("closest", x, expected.text, actual.text);
}

static void
check(double x)
{
    if (!isfinite(x) || x == 0)
        return;

    const line l = written(x);
    if (!reads_back(l.text, x)) {
        fail("reads back", x, "the same bits", l.text);
        return;
    }
    const parts p = taken_apart(l.text);
    const bool negative = signbit(x);
    const line layout = laid_out(p, negative);
    if (strcmp(layout.text, l.text) != 0)
        fail("layout", x, layout.text, l.text);
    check_shortest(x, p, negative);
    check_closest(x, p, negative);
}

static void
check_around(double x, uint64_t reach)
{
    const uint64_t bits = bits_of(x);

    for (uint64_t i = 0; i <= reach; i++) {
        check(double_of(bits + i));
        check(-double_of(bits + i));
        if (i <= bits)
            check(double_of(bits - i));
    }
}

/* ---- which doubles ------------------------------------------------------ */

static uint64_t random_state;

/* SplitMix64: Steele, Lea and Flood, OOPSLA 2014 */
static uint64_t
random_bits(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void
test_edges(void)
{
    for (int e = -1074; e <= 1023; e++)
        check_around(ldexp(1, e), 3);
    for (int e = -323; e <= 308; e++) {
        char text[16];
        snprintf(text, sizeof(text), "1e%d", e);
        check_around(strtod(text, NULL), 3);
    }
    check_around(0, 3000);
    check_around(0x1p-1022, 1000);
    check_around(999999, 100);
    check_around(1e6, 100);
    check_around(1e8, 100);
    check_around(0x1p53, 1000);
    check_around(1e15, 1000);
    check_around(1e16, 1000);
}

static void
test_random(int count)
{
    for (int i = 0; i < count; i++) {
        const uint64_t r = random_bits();
        const uint64_t few = random_bits() >> (11 + r % 53);
        const double sign = r >> 63 ? -1 : 1;

        check(double_of(r));                                    /* any */
        check(double_of(few >> 1));                             /* subnormal */
        check(sign * (double)few);                              /* an integer */
        check(sign * (double)(r % 10000000) / 1000);            /* short */
        check(sign * ldexp((double)few, (int)(r % 190) - 120)); /* ties */
    }
}

int
main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    const int count = argc > 2 ? atoi(argv[2]) : 100000;

    test_known();
    test_edges();
    test_random(count);
    if (failures != 0)
        printf("%d failures\n", failures);
    return failures != 0;
}
