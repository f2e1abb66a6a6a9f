/// The ABI version that a module declares by exporting `proxy_abi_version_X`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AbiVersion {
    /// `proxy_abi_version_0_1_0`
    V0_1_0,
    /// `proxy_abi_version_0_2_0`
    V0_2_0,
    /// `proxy_abi_version_0_2_1`
    V0_2_1,
}

impl AbiVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 3] = [Self::V0_1_0, Self::V0_2_0, Self::V0_2_1];

    /// The export that declares this version.
    pub const fn export(self) -> &'static str {
        match self {
            Self::V0_1_0 => "proxy_abi_version_0_1_0",
            Self::V0_2_0 => "proxy_abi_version_0_2_0",
            Self::V0_2_1 => "proxy_abi_version_0_2_1",
        }
    }
}

/// Implements `TryFrom<u32>` for an enumeration whose members have the ABI's numbers.
macro_rules! from_number {
    ($type:ident { $($member:ident = $number:literal),* $(,)? }) => {
        impl TryFrom<u32> for $type {
            type Error = ();

            fn try_from(number: u32) -> Result<Self, ()> {
                match number {
                    $($number => Ok(Self::$member),)*
                    _ => Err(()),
                }
            }
        }
    };
}

/// `proxy_log_level_t`, least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum LogLevel {
    /// 0
    Trace = 0,
    /// 1
    Debug = 1,
    /// 2
    Info = 2,
    /// 3
    Warn = 3,
    /// 4
    Error = 4,
    /// 5
    Critical = 5,
}

from_number!(LogLevel { Trace = 0, Debug = 1, Info = 2, Warn = 3, Error = 4, Critical = 5 });

/// `proxy_map_type_t`: the header maps that a guest can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HeaderMap {
    /// 0
    RequestHeaders = 0,
    /// 1
    RequestTrailers = 1,
    /// 2
    ResponseHeaders = 2,
    /// 3
    ResponseTrailers = 3,
    /// 4
    GrpcInitialMetadata = 4,
    /// 5
    GrpcTrailingMetadata = 5,
    /// 6
    HttpCallResponseHeaders = 6,
    /// 7
    HttpCallResponseTrailers = 7,
}

from_number!(HeaderMap {
    RequestHeaders = 0,
    RequestTrailers = 1,
    ResponseHeaders = 2,
    ResponseTrailers = 3,
    GrpcInitialMetadata = 4,
    GrpcTrailingMetadata = 5,
    HttpCallResponseHeaders = 6,
    HttpCallResponseTrailers = 7,
});

/// `proxy_buffer_type_t`: the buffers that a guest can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BufferType {
    /// 0
    RequestBody = 0,
    /// 1
    ResponseBody = 1,
    /// 2
    DownstreamData = 2,
    /// 3
    UpstreamData = 3,
    /// 4
    HttpCallResponseBody = 4,
    /// 5
    GrpcMessage = 5,
    /// 6
    VmConfiguration = 6,
    /// 7
    PluginConfiguration = 7,
    /// 8
    ForeignFunctionArguments = 8,
}

from_number!(BufferType {
    RequestBody = 0,
    ResponseBody = 1,
    DownstreamData = 2,
    UpstreamData = 3,
    HttpCallResponseBody = 4,
    GrpcMessage = 5,
    VmConfiguration = 6,
    PluginConfiguration = 7,
    ForeignFunctionArguments = 8,
});
