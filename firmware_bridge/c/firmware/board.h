/* The board: an Arm MPS2 with a Cortex-M3 (AN385), as QEMU has it. For another board, these functions and the linker script. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOARD_UART_GATEWAY 0u
#define BOARD_UART_FRONT_END 1u
#define BOARD_UARTS 2u

void board_init(void);
uint32_t board_now_ms(void);
/* Takes one byte that came. False: none. */
bool board_receive(uint32_t uart, uint8_t *byte);
/* Queues bytes; drops all of them when they do not fit. */
void board_send(uint32_t uart, const uint8_t *bytes, size_t count);
/* Moves queued bytes to the line as it takes them. True while some are left. */
bool board_pump(void);
void board_reset(void);
/* Sleeps until the next interrupt, at most a millisecond. */
void board_wait(void);

#endif
