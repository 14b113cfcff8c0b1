/* The pack that this image is built for: its size, its limits, its ids. A real firmware has its own; nothing on the line changes these. */
#ifndef PROFILE_H
#define PROFILE_H

#define PROFILE_ID 0x00010001u
#define PROFILE_MCU_ID 0x0002u
#define PROFILE_GATEWAY_ID 0x0001u
#define PROFILE_CELLS 16u
#define PROFILE_PROBES 8u

/* NMC against graphite, within the range that cell makers state */
#define PROFILE_OVER_VOLTAGE_100UV 42500u
#define PROFILE_UNDER_VOLTAGE_100UV 28000u
#define PROFILE_OVER_TEMPERATURE_DC 600
#define PROFILE_UNDER_TEMPERATURE_DC (-200)
#define PROFILE_CHARGE_DA 800u
#define PROFILE_DISCHARGE_DA 1200u
#define PROFILE_CHARGE_DV 672u    /* 16 cells of 4.20 V */
#define PROFILE_DISCHARGE_DV 480u /* 16 cells of 3.00 V */

/* a value beyond its limit for so long trips: longer than a spike, shorter than harm */
#define PROFILE_TRIP_MS 300u
/* nothing from the front end for so long: it is lost */
#ifndef PROFILE_FRONT_END_LOST_MS
#define PROFILE_FRONT_END_LOST_MS 1000u
#endif

#define PROFILE_LOW_CURRENT_MA 1000u
#define PROFILE_LOWERING_ADVICE_MS 5000u
#define PROFILE_LOWERING_FAULT_MS 500u
#define PROFILE_CLOSE_AFTER_MS 1000u
#define PROFILE_SWEEP_MS 200u

/* The key of the emulated board, written into the store when it is empty. A real board gets its own through the programming port. */
#define PROFILE_TEST_KEY {0x2Bu, 0x7Eu, 0x15u, 0x16u, 0x28u, 0xAEu, 0xD2u, 0xA6u, 0xABu, 0xF7u, 0x15u, 0x88u, 0x09u, 0xCFu, 0x4Fu, 0x3Cu}
#define PROFILE_TEST_KEY_ID 1u

#endif
