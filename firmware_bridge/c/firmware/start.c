/* Vector table and start-up for a Cortex-M3 without an operating system. */
#include <stdint.h>

extern uint32_t image_stack_top, image_data_from, image_data_start, image_data_end, image_bss_start, image_bss_end;

int main(void);
void reset_handler(void);
void fault_handler(void);
void systick_handler(void);
void uart0_receive_handler(void);
void uart1_receive_handler(void);
void board_reset(void);

typedef void (*handler)(void);

/* entry 0 is the top of the stack, the others are code */
typedef union {
    uint32_t *stack;
    handler code;
} entry;

__attribute__((section(".vectors"), used)) static const entry vectors[16 + 3] = {
    [0] = {.stack = &image_stack_top},
    [1] = {.code = reset_handler},
    [2] = {.code = fault_handler},
    [3] = {.code = fault_handler},
    [4] = {.code = fault_handler},
    [5] = {.code = fault_handler},
    [6] = {.code = fault_handler},
    [15] = {.code = systick_handler},
    [16] = {.code = uart0_receive_handler},
    [17] = {.code = fault_handler},
    [18] = {.code = uart1_receive_handler},
};

void fault_handler(void)
{
    board_reset();
}

void reset_handler(void)
{
    const uint32_t *from = &image_data_from;
    for (uint32_t *to = &image_data_start; to < &image_data_end; to++) {
        *to = *from;
        from++;
    }
    for (uint32_t *to = &image_bss_start; to < &image_bss_end; to++) {
        *to = 0u;
    }
    (void)main();
    board_reset();
}
