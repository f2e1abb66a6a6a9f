//! How the nginx module is linked.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,--strip-all");
    // LLVM's linker keeps all of std, which nothing here uses: 300 kB instead of 15.
    println!("cargo:rustc-cdylib-link-arg=-fuse-ld=bfd");
    println!("cargo:rerun-if-changed=build.rs");
}
