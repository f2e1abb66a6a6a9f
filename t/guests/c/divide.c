// A plugin that stops itself, two functions deep, before it divides by zero. It is built with debug information.

#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name))) name

void EXPORT(proxy_abi_version_0_2_1)(void) {}

uint32_t EXPORT(proxy_on_memory_allocate)(uint32_t size) { return size ? 1024 : 0; }

static volatile uint32_t nobody;

__attribute__((noinline)) static uint32_t share(uint32_t whole) {
    if (!nobody) __builtin_trap();
    return whole / nobody;
}

uint32_t EXPORT(proxy_on_request_headers)(uint32_t context, uint32_t headers, uint32_t end_of_stream) {
    return share(context) + headers + end_of_stream;
}
