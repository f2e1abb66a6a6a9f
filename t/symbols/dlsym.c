/* Preloaded into nginx by t/symbols.t: what the library under test finds of nginx depends on the environment variable
 * TEST_SYMBOLS. "runtime": the functions of shared dicts have the names that APISIX-Runtime gives them; "no dict": there are
 * none; "no semaphores": one is missing that the library can't do without. LuaJIT, which looks up names as well, finds all. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char LUA[] = "ngx_http_lua_ffi_shdict_", META[] = "ngx_meta_lua_ffi_shdict_";

static void *real(void *handle, const char *name)
{
    static void *(*dlsym_of_libc)(void *, const char *);
    if (!dlsym_of_libc) {
        dlsym_of_libc = (void *(*)(void *, const char *)) dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
        if (!dlsym_of_libc) dlsym_of_libc = (void *(*)(void *, const char *)) dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    }
    return dlsym_of_libc(handle, name);
}

static int is_library(const void *address)
{
    Dl_info caller;
    return dladdr(address, &caller) && caller.dli_fname && strstr(caller.dli_fname, "resty/wasm/native.so");
}

void *dlsym(void *handle, const char *name)
{
    char other[128];
    const char *mode = getenv("TEST_SYMBOLS");
    if (!mode || !is_library(__builtin_return_address(0))) return real(handle, name);
    if (!strcmp(mode, "no semaphores")) return strcmp(name, "ngx_http_lua_ffi_sema_post") ? real(handle, name) : NULL;
    if (!strncmp(name, LUA, sizeof LUA - 1)) return NULL;
    if (strcmp(mode, "runtime") || strncmp(name, META, sizeof META - 1)) return real(handle, name);
    snprintf(other, sizeof other, "%s%s", LUA, name + sizeof META - 1);
    return real(handle, other);
}
