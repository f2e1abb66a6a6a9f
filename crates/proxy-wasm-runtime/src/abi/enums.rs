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

/// An enumeration whose members have the ABI's numbers, and how a number of the guest becomes one.
macro_rules! numbered {
    ($(#[$attribute:meta])* $type:ident { $($(#[$of_member:meta])* $member:ident = $number:literal,)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum $type {
            $($(#[$of_member])* #[doc = stringify!($number)] $member = $number,)*
        }

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

numbered! {
    /// `proxy_log_level_t`, least severe first.
    LogLevel {
        Trace = 0,
        Debug = 1,
        Info = 2,
        Warn = 3,
        Error = 4,
        Critical = 5,
    }
}

numbered! {
    /// `proxy_map_type_t`: the header maps that a guest can name.
    HeaderMap {
        RequestHeaders = 0,
        RequestTrailers = 1,
        ResponseHeaders = 2,
        ResponseTrailers = 3,
        GrpcInitialMetadata = 4,
        GrpcTrailingMetadata = 5,
        HttpCallResponseHeaders = 6,
        HttpCallResponseTrailers = 7,
    }
}

impl HeaderMap {
    /// Whether it is a map of a callout's answer, which only its callbacks have and nobody can change.
    pub fn is_of_callout(self) -> bool {
        self >= Self::GrpcInitialMetadata
    }
}

numbered! {
    /// `proxy_buffer_type_t`: the buffers that a guest can name.
    BufferType {
        RequestBody = 0,
        ResponseBody = 1,
        DownstreamData = 2,
        UpstreamData = 3,
        HttpCallResponseBody = 4,
        GrpcMessage = 5,
        VmConfiguration = 6,
        PluginConfiguration = 7,
        ForeignFunctionArguments = 8,
    }
}

numbered! {
    /// `proxy_metric_type_t`
    MetricType {
        Counter = 0,
        Gauge = 1,
        Histogram = 2,
    }
}
