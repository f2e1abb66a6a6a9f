//! How the shared library is linked.

fn main() {
    // lua_close unloads C libraries at a reload, while signal handlers and finalizers of this one are still in use.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Function names stay: a profile of a worker tells who spends its time. Lines stay if the build asks for them.
    if std::env::var("DEBUG").is_ok_and(|debug| debug == "false") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--strip-debug");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
