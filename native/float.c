/* Doubles as text: the shortest digits that read back as the same double, and
 * among those the closest, as Python's repr(float) finds them, laid out as
 * prometheus_client's floatToGoString does.  Reading text is not here, nor are
 * names and labels (text.c).
 *
 * The algorithm is Schubfach: Raffaello Giulietti, "The Schubfach way to render
 * doubles" (2020); names follow the paper.  Its 617 powers of ten are each made
 * by one multiplication from a table of 23 and one of 28, the idea of the small
 * table in Ulf Adams, "Ryu: fast float-to-string conversion" (PLDI 2018).
 *
 * Integers and bits only: no printf, no strtod, no locale, no allocation, and
 * no rounding mode of the caller's can change a digit. */
#include "core.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

__extension__ typedef unsigned __int128 uint128;

_Static_assert(sizeof(double) == 8, "need IEEE 754 binary64");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "eight_digits() puts the first digit into the lowest byte");
_Static_assert(-3 >> 1 == -2, "the logarithms below shift negative numbers");

enum {
    FRACTION_BITS = 52,
    EXPONENT_MASK = 0x7ff, /* in the exponent field: infinity or NaN */
    EXPONENT_BIAS = 1075,  /* x == c * 2^q, q == exponent field - 1075 */
    DIGITS = 17,           /* enough for every double */
    LONGEST = 24,          /* -2.2250738585072014e-308 */
    POWER_STEP = 28,       /* 5^27 is the last power of five below 2^64 */
    POWER_FIRST = -308     /* a multiple of the step; -292 .. 324 are used */
};

/* Stores are eight bytes wide: those after the text's end, but never beyond
 * LONGEST, may be written too. */
_Static_assert(LONGEST <= MPM_FLOAT_MAX, "MPM_FLOAT_MAX is too small");

/* A positive number in decimal.
 *   value  == digits * 10^(point - 17)     0.ddddddddddddddddd * 10^point
 *   digits >= 10^16, digits < 10^17        zeros at the end are padding */
typedef struct {
    uint64_t digits;
    int point; /* how many digits stand before the decimal point */
} decimal;

/* 128 bits of a power of ten, hi's top bit set. */
typedef struct {
    uint64_t hi;
    uint64_t lo;
} power;

/* 10^(28 i - 308), scaled to 2^127 .. 2^128, rounded down, plus one:
 *   def scaled(e):    # an exact fraction
 *       x = Fraction(10) ** e
 *       while x < 2**127: x *= 2
 *       while x >= 2**128: x /= 2
 *       return x
 *   for i in range(23): print(hex(floor(scaled(28 * i - 308)) + 1)) */
static const power power_base[] = {
    {0xe61acf033d1a45df, 0x6fb92487298e33be},
    {0xe858ad248f5c22c9, 0xd1b3400f8f9cff69},
    {0xea9c227723ee8bcb, 0x465e15a979c1cadd},
    {0xece53cec4a314ebd, 0xa4f8bf5635246429},
    {0xef340a98172aace4, 0x86fb897116c87c35},
    {0xf18899b1bc3f8ca1, 0xdc44e6c3cb279ac2},
    {0xf3e2f893dec3f126, 0x5a89dba3c3efccfb},
    {0xf64335bcf065d37d, 0x4d4617b5ff4a16d6},
    {0xf8a95fcf88747d94, 0x75a44c6397ce912b},
    {0xfb158592be068d2e, 0xeed6e2f0f0d56713},
    {0xfd87b5f28300ca0d, 0x8bca9d6e188853fd},
    {0x8000000000000000, 0x0000000000000001},
    {0x813f3978f8940984, 0x4000000000000001},
    {0x82818f1281ed449f, 0xbff8f10e7a8921a5},
    {0x83c7088e1aab65db, 0x792667c6da79e0fb},
    {0x850fadc09923329e, 0x03e2cf6bc604ddb1},
    {0x865b86925b9bc5c2, 0x0b8a2392ba45a9b3},
    {0x87aa9aff79042286, 0x90fb44d2f05d0843},
    {0x88fcf317f22241e2, 0x441fece3bdf81f04},
    {0x8a5296ffe33cc92f, 0x82bd6b70d99aaa70},
    {0x8bab8eefb6409c1a, 0x1ad089b6c2f7548f},
    {0x8d07e33455637eb2, 0xdb0b487b6423e1e9},
    {0x8e679c2f5e44ff8f, 0x570f09eaa7ea7649},
};

/* 5^0 .. 5^27, exact, shifted left until the top bit is set. */
static const uint64_t power_step[] = {
    0x8000000000000000, 0xa000000000000000, 0xc800000000000000,
    0xfa00000000000000, 0x9c40000000000000, 0xc350000000000000,
    0xf424000000000000, 0x9896800000000000, 0xbebc200000000000,
    0xee6b280000000000, 0x9502f90000000000, 0xba43b74000000000,
    0xe8d4a51000000000, 0x9184e72a00000000, 0xb5e620f480000000,
    0xe35fa931a0000000, 0x8e1bc9bf04000000, 0xb1a2bc2ec5000000,
    0xde0b6b3a76400000, 0x8ac7230489e80000, 0xad78ebc5ac620000,
    0xd8d726b7177a8000, 0x878678326eac9000, 0xa968163f0a57b400,
    0xd3c21bcecceda100, 0x84595161401484a0, 0xa56fa5b99019a5c8,
    0xcecb8f27f4200f3a,
};

_Static_assert(sizeof(power_step) / sizeof(power_step[0]) == POWER_STEP,
               "one row for each remainder");

static const uint64_t ten_to[] = {
    UINT64_C(1),
    UINT64_C(10),
    UINT64_C(100),
    UINT64_C(1000),
    UINT64_C(10000),
    UINT64_C(100000),
    UINT64_C(1000000),
    UINT64_C(10000000),
    UINT64_C(100000000),
    UINT64_C(1000000000),
    UINT64_C(10000000000),
    UINT64_C(100000000000),
    UINT64_C(1000000000000),
    UINT64_C(10000000000000),
    UINT64_C(100000000000000),
    UINT64_C(1000000000000000),
    UINT64_C(10000000000000000),
};

/* The logarithms, rounded down, are exact for every q and k in use. */

/* floor(log10(2^q)), or of 3/4 * 2^q where the gap below x is halved */
static int
log10_of_gap(int q, bool halved)
{
    return (q * 1262611 - (halved ? 524031 : 0)) >> 22;
}

/* floor(log2(10^e)) */
static int
log2_of_power(int e)
{
    return (e * 1741647) >> 19;
}

/* 10^e scaled to 2^127 .. 2^128, and above the exact value by less than 3: the
 * base's excess, below 1, is at most doubled, and rounding adds at most 1. */
static power
power_of_ten(int e)
{
    const unsigned from = (unsigned)(e - POWER_FIRST);
    const power base = power_base[from / POWER_STEP];
    const uint64_t step = power_step[from % POWER_STEP];
    const uint128 low = (uint128)base.lo * step;
    const uint128 high = (uint128)base.hi * step + (uint64_t)(low >> 64);
    const unsigned up = !(high >> 127);
    const uint128 g = (high << up | ((uint64_t)low >> 63 & up)) + 1;

    return (power){(uint64_t)(g >> 64), (uint64_t)g};
}

/* g * cp / 2^128, rounded down, and made odd if that dropped anything.
 *
 * The excess of g adds less than 2^-67.4 to the product.  Over all doubles (by
 * continued fractions, q by q) the exact product lies at least 2^-65.5 above
 * an integer if not on it, and at least 2^-61.6 below the next one.  So what
 * is left is the exact floor, and it was exact if the rest is below 2^-66. */
static uint64_t
round_to_odd(power g, uint64_t cp)
{
    const uint128 low = (uint128)g.lo * cp;
    const uint128 high = (uint128)g.hi * cp + (uint64_t)(low >> 64);
    const uint64_t rest = (uint64_t)high | (uint64_t)low >> 62;

    return (uint64_t)(high >> 64) | (rest != 0);
}

/* n * 10^k, for 0 < n < 10^17 */
static decimal
decimal_from(uint64_t n, int k)
{
    /* bits * 1233 / 4096 is log10(2^bits), rounded down: one digit less, or
     * the number of digits itself. */
    const int bits = 64 - __builtin_clzll(n);
    const int least = bits * 1233 >> 12;
    const int length = least + (least < DIGITS && n >= ten_to[least]);

    return (decimal){n * ten_to[DIGITS - length], k + length};
}

/* c * 2^q, which is not an integer below 2^53; halved: the next double below
 * is only half as far away as the next above.
 *
 * All is counted in quarters of 10^k, the largest power of ten that is not
 * wider than the interval of the decimals that read back as x.  That interval
 * holds at most one multiple of 10^(k+1), and then it is the shortest; if none,
 * one of the two neighbours of x among the multiples of 10^k. */
static decimal
shortest(uint64_t c, int q, bool halved)
{
    const int k = log10_of_gap(q, halved);
    const int h = q + log2_of_power(-k) + 1;
    const power g = power_of_ten(-k);
    const uint64_t odd = c & 1; /* then the ends of the interval are out */
    const uint64_t left = round_to_odd(g, (4 * c - 2 + halved) << h) + odd;
    const uint64_t right = round_to_odd(g, (4 * c + 2) << h) - odd;
    const uint64_t middle = round_to_odd(g, 4 * c << h);
    const uint64_t s = middle / 4;
    const uint64_t tens = s / 10;

    const bool tens_low = left <= 40 * tens;
    const bool tens_high = 40 * tens + 40 <= right;
    if (tens_low || tens_high)
        return decimal_from(tens + tens_high, k + 1);

    const bool low = left <= 4 * s;
    const bool high = 4 * s + 4 <= right;
    if (low != high)
        return decimal_from(s + high, k);

    const uint64_t half = 4 * s + 2;
    const bool up = middle > half || (middle == half && (s & 1));
    return decimal_from(s + up, k);
}

/* The eight decimal digits of n < 10^8 as bytes 0 .. 9, the first digit in the
 * lowest byte: halves of 4, 2 and 1 digits, split side by side in one word. */
static uint64_t
eight_digits(uint64_t n)
{
    const uint64_t fours = n / 10000 + (n % 10000 << 32);
    const uint64_t by100 = fours * 5243 >> 19 & UINT64_C(0x0000007f0000007f);
    const uint64_t twos = by100 + ((fours - by100 * 100) << 16);
    const uint64_t by10 = twos * 103 >> 10 & UINT64_C(0x000f000f000f000f);

    return by10 + ((twos - by10 * 10) << 8);
}

static const uint64_t ascii_zeros = UINT64_C(0x3030303030303030);

static void
store_eight(char *out, uint64_t bytes)
{
    memcpy(out, &bytes, sizeof(bytes));
}

/* Stores the eight bytes and a point before number `at` (0 .. 7) */
static void
store_with_point(char *out, uint64_t bytes, int at)
{
    const uint64_t before = (UINT64_C(1) << 8 * at) - 1;
    const uint64_t point = (uint64_t)'.' << 8 * at;

    store_eight(out, (bytes & before) | point | (bytes & ~before) << 8);
    out[8] = (char)(bytes >> 56);
}

static char *
write_exponent(char *out, int exponent)
{
    unsigned n = (unsigned)(exponent < 0 ? -exponent : exponent);

    *out++ = 'e';
    *out++ = exponent < 0 ? '-' : '+';
    if (n >= 100) {
        *out++ = (char)('0' + n / 100);
        n %= 100;
    }
    *out++ = (char)('0' + n / 10);
    *out++ = (char)('0' + n % 10);
    return out;
}

/* Lays d out; past `most` digits before the point it takes an exponent. */
static char *
write_decimal(char *out, decimal d, int most)
{
    const char first = (char)('0' + d.digits / ten_to[16]);
    const uint64_t rest = d.digits % ten_to[16];
    const uint64_t high = eight_digits(rest / ten_to[8]);
    const uint64_t low = eight_digits(rest % ten_to[8]);

    int length = 1; /* digits without the padding */
    if (low != 0)
        length = DIGITS - __builtin_clzll(low) / 8;
    else if (high != 0)
        length = DIGITS - 8 - __builtin_clzll(high) / 8;

    if (d.point > most || d.point < -3) {
        out[0] = first;
        out[1] = '.';
        store_eight(out + 2, high | ascii_zeros);
        store_eight(out + 10, low | ascii_zeros);
        return write_exponent(out + (length > 1 ? length + 1 : 1), d.point - 1);
    }
    if (d.point <= 0) {
        store_eight(out, ascii_zeros);
        out[1] = '.';
        out += 2 - d.point;
        out[0] = first;
        store_eight(out + 1, high | ascii_zeros);
        store_eight(out + 9, low | ascii_zeros);
        return out + length;
    }
    out[0] = first;
    if (d.point <= 8) {
        store_with_point(out + 1, high | ascii_zeros, d.point - 1);
        store_eight(out + 10, low | ascii_zeros);
    } else {
        store_eight(out + 1, high | ascii_zeros);
        store_with_point(out + 9, low | ascii_zeros, d.point - 9);
    }
    return out + (length > d.point ? length : d.point + 1) + 1;
}

/* n < 10^6, and ".0" */
static char *
write_small_integer(char *out, uint64_t n)
{
    const uint64_t digits = eight_digits(n);
    const int zeros = n == 0 ? 7 : __builtin_ctzll(digits) / 8;

    store_eight(out, (digits | ascii_zeros) >> 8 * zeros);
    out += 8 - zeros;
    memcpy(out, ".0", 2);
    return out + 2;
}

static size_t
write_text(char *out, const char *text)
{
    const size_t length = strlen(text);

    memcpy(out, text, length);
    return length;
}

/* `go`: an exponent from 10^6, as Go; but floatToGoString leaves the negative
 * to Python, which takes one from 10^16. */
static size_t
write_float(char *out, double x, bool go)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));

    const bool negative = bits >> 63;
    const int exponent = (int)(bits >> FRACTION_BITS & EXPONENT_MASK);
    const uint64_t hidden = UINT64_C(1) << FRACTION_BITS;
    const uint64_t fraction = bits & (hidden - 1);

    if (exponent == EXPONENT_MASK) {
        if (fraction != 0)
            return write_text(out, "NaN");
        return write_text(out, negative ? "-Inf" : "+Inf");
    }

    char *end = out;
    *end = '-';
    end += negative;

    if (exponent == 0 && fraction == 0)
        return (size_t)(write_small_integer(end, 0) - out);

    const int most = go && !negative ? 6 : 16;
    const uint64_t c = exponent == 0 ? fraction : fraction | hidden;
    const int q = (exponent == 0 ? 1 : exponent) - EXPONENT_BIAS;

    /* An integer below 2^53 is nobody else's nearest double, so its own
     * digits without the zeros at their end are the shortest. */
    if (q <= 0 && q >= -FRACTION_BITS && c << (63 + q) << 1 == 0) {
        const uint64_t n = c >> -q;
        end = n < ten_to[6] ? write_small_integer(end, n)
                            : write_decimal(end, decimal_from(n, 0), most);
    } else {
        const bool halved = fraction == 0 && exponent > 1;
        end = write_decimal(end, shortest(c, q, halved), most);
    }
    return (size_t)(end - out);
}

size_t
mpm_float_write(char *out, double x)
{
    return write_float(out, x, true);
}

size_t
mpm_float_write_repr(char *out, double x)
{
    return write_float(out, x, false);
}
