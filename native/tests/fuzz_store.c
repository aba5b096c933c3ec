/* What libFuzzer runs: `make fuzz`.  hostile.h says what an input means, and
 * test_hostile.c runs those that once found something. */
#include "hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    meet(bytes, count);
    if (failures != 0)
        abort();
    return 0;
}
