#include "board.h"
#include "store.h"

#define RING_BYTES 1024u /* a power of two */

/* CMSDK UART: Arm DDI 0479, 4.3 */
typedef struct {
    volatile uint32_t data;
    volatile uint32_t state; /* bit 0: transmit buffer full, bit 1: receive buffer full */
    volatile uint32_t control; /* bit 0: transmit, 1: receive, 3: receive interrupt */
    volatile uint32_t interrupt;
    volatile uint32_t divider;
} uart_registers;

typedef struct {
    volatile uint32_t in;
    volatile uint32_t out;
    uint8_t bytes[RING_BYTES];
} ring;

#define CLOCK_HZ 25000000u
#define BAUD 115200u
#define UART(number) ((uart_registers *)(0x40004000u + (0x1000u * (number))))
#define SYSTICK_CONTROL (*(volatile uint32_t *)0xE000E010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xE000E014u)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xE000E018u)
#define NVIC_ENABLE (*(volatile uint32_t *)0xE000E100u)
#define RESET_CONTROL (*(volatile uint32_t *)0xE000ED0Cu)

static volatile uint32_t milliseconds;
static ring received[BOARD_UARTS];
static ring to_send[BOARD_UARTS];

void systick_handler(void);
void uart0_receive_handler(void);
void uart1_receive_handler(void);

void systick_handler(void)
{
    milliseconds++;
}

static void take(uint32_t uart)
{
    ring *to = &received[uart];
    /* cleared before the buffer is emptied: a byte that comes in between raises it again */
    UART(uart)->interrupt = 2u;
    while ((UART(uart)->state & 2u) != 0u) {
        const uint8_t byte = (uint8_t)UART(uart)->data;
        if ((to->in - to->out) < RING_BYTES) {
            to->bytes[to->in % RING_BYTES] = byte;
            to->in++;
        }
    }
}

void uart0_receive_handler(void)
{
    take(0u);
}

void uart1_receive_handler(void)
{
    take(1u);
}

void board_init(void)
{
    for (uint32_t uart = 0u; uart < BOARD_UARTS; uart++) {
        UART(uart)->divider = CLOCK_HZ / BAUD;
        UART(uart)->control = 1u | 2u | 8u;
    }
    NVIC_ENABLE = (1u << 0u) | (1u << 2u); /* receive interrupts of UART 0 and 1 */
    SYSTICK_RELOAD = (CLOCK_HZ / 1000u) - 1u;
    SYSTICK_VALUE = 0u;
    SYSTICK_CONTROL = 7u;
}

uint32_t board_now_ms(void)
{
    return milliseconds;
}

bool board_receive(uint32_t uart, uint8_t *byte)
{
    ring *from = &received[uart];
    if (from->in == from->out) {
        return false;
    }
    *byte = from->bytes[from->out % RING_BYTES];
    from->out++;
    return true;
}

void board_send(uint32_t uart, const uint8_t *bytes, size_t count)
{
    ring *to = &to_send[uart];
    if ((RING_BYTES - (to->in - to->out)) < count) {
        return;
    }
    for (size_t i = 0u; i < count; i++) {
        to->bytes[to->in % RING_BYTES] = bytes[i];
        to->in++;
    }
}

bool board_pump(void)
{
    bool left = false;
    for (uint32_t uart = 0u; uart < BOARD_UARTS; uart++) {
        ring *from = &to_send[uart];
        while ((from->in != from->out) && ((UART(uart)->state & 1u) == 0u)) {
            UART(uart)->data = from->bytes[from->out % RING_BYTES];
            from->out++;
        }
        left = left || (from->in != from->out);
    }
    return left;
}

/* RAM that the start-up code leaves alone and that QEMU keeps over system_reset */
static uint8_t kept_bytes[STORE_BYTES] __attribute__((section(".noinit")));

void store_put(size_t at, uint8_t byte)
{
    kept_bytes[at] = byte;
}

uint8_t store_get(size_t at)
{
    return kept_bytes[at];
}

void board_reset(void)
{
    RESET_CONTROL = 0x05FA0004u;
    for (;;) {
    }
}

void board_wait(void)
{
    __asm volatile("wfi");
}
