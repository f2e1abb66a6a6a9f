--- Looks at the files of plugins without the native library, which reads them.

local ffi = require("ffi")

local C = ffi.C
local errno = ffi.errno
local ffi_string = ffi.string
local tonumber = tonumber

-- Under names of our own: other modules declare these functions with other types.
ffi.cdef [[
    int resty_wasm_access(const char *path, int mode) __asm__("access");
    int resty_wasm_open(const char *path, int flags, ...) __asm__("open");
    long resty_wasm_read(int fd, void *buffer, size_t size) __asm__("read");
    int resty_wasm_close(int fd) __asm__("close");
    const char *resty_wasm_strerror(int code) __asm__("strerror");
]]

local R_OK = 4
-- O_RDONLY, with O_NONBLOCK, as else a FIFO that nobody writes to is waited for, and O_CLOEXEC; of Linux.
local FLAGS = 0x800 + 0x80000

local MAGIC = "\0asm"

local _M = {}

-- As io.open has it.
local function failure(path)
    return nil, path .. ": " .. ffi_string(C.resty_wasm_strerror(errno()))
end

--- Whether there is a file that this process may read; it is not opened.
-- @return true, or nil and an error
function _M.is_readable(path)
    if C.resty_wasm_access(path, R_OK) ~= 0 then
        return failure(path)
    end
    return true
end

--- Whether a file begins as modules do. It is never waited for.
-- @return true, or nil and an error
function _M.has_magic(path)
    local fd = C.resty_wasm_open(path, FLAGS)
    if fd < 0 then
        return failure(path)
    end
    local bytes = ffi.new("char[?]", #MAGIC)
    local size = tonumber(C.resty_wasm_read(fd, bytes, #MAGIC))
    local ok, err = true, nil
    if size < 0 then
        ok, err = failure(path)
    elseif ffi_string(bytes, size) ~= MAGIC then
        ok, err = nil, path .. " is no wasm module: it does not begin with \\0asm"
    end
    C.resty_wasm_close(fd)
    return ok, err
end

return _M
