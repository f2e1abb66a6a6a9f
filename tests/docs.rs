//! The tables in docs/ are those of the code. `UPDATE_DOCS=1 cargo test --release --workspace --test docs` writes them anew.

#[allow(dead_code, reason = "the lookup is for the library")]
#[path = "../src/nginx/properties/table.rs"]
mod attributes;

use std::{collections::BTreeSet, fmt::Write, path::Path};

use proxy_wasm_runtime::{abi::AbiVersion, guest::CALLBACKS, hostcalls::table::HOSTCALLS};

use attributes::{ATTRIBUTES, Certificate, Headers, Source};

const BEGIN: &str = "<!-- begin generated -->\n";
const END: &str = "<!-- end generated -->\n";

/// Fails when what stands between the marks in a file of docs/ is not `expected`; with UPDATE_DOCS=1 it is replaced.
fn check_generated(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if found == expected {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, [before, BEGIN, expected, END, after].concat()).unwrap();
        return;
    }
    panic!("docs/{file} is stale: UPDATE_DOCS=1 cargo test --release --workspace --test docs");
}

/// A table in Markdown.
fn table<const COLUMNS: usize>(head: [&str; COLUMNS], rows: impl IntoIterator<Item = [String; COLUMNS]>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), " --- |".repeat(COLUMNS));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    text
}

#[test]
fn abi() {
    let hostcalls = HOSTCALLS.iter().map(|hostcall| {
        let (first, last) = hostcall.versions;
        let mark = |version| if (first..=last).contains(&version) { "✓" } else { "" }.to_owned();
        let [v0_1_0, v0_2_0, v0_2_1] = AbiVersion::ALL.map(mark);
        [format!("`{}`", hostcall.name), v0_1_0, v0_2_0, v0_2_1]
    });
    let callbacks = CALLBACKS.iter().map(|name| [format!("`{name}`")]);
    let hostcalls = table(["hostcall", "0.1.0", "0.2.0", "0.2.1"], hostcalls);
    check_generated("abi.md", &[hostcalls, table(["callback that is called"], callbacks)].join("\n"));
}

#[test]
fn properties() {
    let rows = ATTRIBUTES.iter().map(|attribute| {
        let ty = format!("{:?}", attribute.ty).to_lowercase();
        [format!("`{}`", attribute.name), ty, origin(attribute.source), attribute.note.to_owned()]
    });
    check_generated("properties.md", &table(["property", "type", "from", "remarks"], rows));
}

#[test]
fn each_attribute_is_found_by_its_path_and_stands_in_alphabetical_order() {
    for pair in ATTRIBUTES.windows(2) {
        assert!(pair[0].path < pair[1].path, "{} stands before {}", pair[0].name, pair[1].name);
    }
    for attribute in ATTRIBUTES {
        let (found, member) = attributes::find(attribute.path).unwrap();
        assert_eq!((found.name, member), (attribute.name, None));
    }
}

#[test]
fn only_a_map_has_members() {
    let found = |path: &'static str| attributes::find(path.as_bytes()).map(|(found, member)| (found.name, member));
    assert_eq!(found("request\0headers\0x-api"), Some(("request.headers", Some(&b"x-api"[..]))));
    assert_eq!(found("request\0headers\0x\0y"), None);
    assert_eq!(found("request\0path\0x"), None);
    assert_eq!(found("request"), None);
    assert_eq!(found("request.path"), None);
    assert_eq!(found(""), None);
    assert_eq!(found("\0"), None);
}

/// Where an attribute comes from, in words.
fn origin(source: Source) -> String {
    let variable = |name: &str| format!("`${name}`");
    match source {
        Source::Plugin => "the plugin".into(),
        Source::Variable(name) | Source::VariableOr(name, "") => variable(name),
        Source::VariableOr(name, default) => format!("{}, else {default}", variable(name)),
        Source::BodySize => "`content-length`, `$content_length`, else 0".into(),
        Source::GrpcStatus => {
            "`grpc-status` of the response headers or trailers, `$upstream_trailer_grpc_status`".into()
        }
        Source::Last(name) | Source::LastAddress(name) => format!("{}, the last", variable(name)),
        Source::LastPort(name) => format!("{}, the port of the last", variable(name)),
        Source::Count(name) => format!("{}, how many", variable(name)),
        Source::Address(ip, port) => format!("{}, {}", variable(ip), variable(port)),
        Source::Header(name) => format!("`{name}`"),
        Source::UrlPath => "`:path` up to `?`".into(),
        Source::Protocol => variable("server_protocol"),
        Source::StartTime => "`ngx.req.start_time()`".into(),
        Source::Elapsed => "the clock, and `ngx.req.start_time()`".into(),
        Source::Status => "`ngx.status`".into(),
        Source::CodeDetails => "`proxy_send_local_response`, `$upstream_header_time`".into(),
        Source::Headers(map) => headers(map).into(),
        Source::HeadersSize(map) => format!("{}, their sizes", headers(map)),
        Source::ClientCertificate(Certificate::Presented) => variable("ssl_client_verify"),
        Source::ClientCertificate(_) => variable("ssl_client_raw_cert"),
        Source::Apisix(_) => "APISIX".into(),
        Source::Constant(number) => number.to_string(),
    }
}

fn headers(map: Headers) -> &'static str {
    match map {
        Headers::Request => "the request headers",
        Headers::Response => "the response headers",
        Headers::Trailers => "the response trailers",
    }
}

/// A file of the repository.
fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn docs_limits_has_a_row_for_each_option_of_load() {
    let options = read("lib/resty/wasm/options.lua");
    let (_, known) = options.split_once("local KNOWN = {\n").unwrap();
    let (known, _) = known.split_once("\n}\n").unwrap();
    let known: BTreeSet<&str> =
        known.lines().filter_map(|line| Some(line.strip_prefix("    ")?.split_once(" = {")?.0)).collect();
    let page = read("docs/limits.md");
    let (_, table) = page.split_once("| option of `load` |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let documented: BTreeSet<&str> =
        rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect();
    assert!(known.contains("fail"));
    assert_eq!(documented, known, "the options in docs/limits.md, and those that options.lua knows");
}

/// Each name in backticks that has a slash and no blank is a path of the repository, or one of the runtime's `src/`.
#[test]
fn architecture_names_files_that_there_are() {
    let page = read("ARCHITECTURE.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let outside_of_blocks = page.split("```").step_by(2);
    let named: Vec<&str> = outside_of_blocks
        .flat_map(|text| text.split('`').skip(1).step_by(2))
        .filter(|name| name.contains('/') && !name.contains(' ') && !name.contains("NAME"))
        .collect();
    assert!(named.len() > 20);
    for name in named {
        let places =
            [root.to_owned(), root.join("crates/proxy-wasm-runtime"), root.join("crates/proxy-wasm-runtime/src")];
        assert!(places.iter().any(|place| place.join(name).exists()), "ARCHITECTURE.md names {name}");
    }
}

#[test]
fn docs_apisix_has_the_lines_that_install_sh_prints() {
    let line = |line: &str| line.split(" #").next().unwrap().trim_end().to_owned();
    let page: Vec<String> = read("docs/apisix.md").lines().map(line).collect();
    for file in ["apisix-plugin/config/apisix-runtime.yaml", "apisix-plugin/config/stock-openresty.yaml"] {
        for expected in
            read(file).lines().map(line).filter(|line| !line.trim_start().starts_with('#') && !line.is_empty())
        {
            assert!(page.contains(&expected), "docs/apisix.md lacks a line of {file}: {expected}");
        }
    }
}
