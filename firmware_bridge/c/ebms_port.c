#include "ebms_port.h"

void ebms_require(bool holds, const char *file, uint32_t line)
{
    if (!holds) {
        ebms_assert_failed(file, line);
    }
}
