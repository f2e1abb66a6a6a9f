# make run, make test: everything that they need and that is missing is installed first.
# OPENRESTY_PREFIX=/usr/local/openresty uses that OpenResty instead of Debian's nginx.

LIBRARY = lib/resty/wasm/native.so
LUALIB ?= $(if $(OPENRESTY_PREFIX),$(OPENRESTY_PREFIX)/site/lualib,/usr/local/share/lua/5.1)
export OPENRESTY_PREFIX

.PHONY: build guests run test fuzz soak valgrind bench install dist install-apisix clean

build:
	cargo build --locked --release --workspace
	install -m 755 target/release/libresty_wasm.so $(LIBRARY).part
	mv $(LIBRARY).part $(LIBRARY)

guests:
	tools/build-guests

run: build guests
	tools/need-nginx
	tools/run

test:
	tools/test

fuzz:
	tools/fuzz

soak: build guests
	tools/need-nginx
	tools/need prove=perl /usr/share/perl5/Test/Base.pm=libtest-base-perl
	tools/soak
	tools/framing

valgrind:
	tools/valgrind

bench: build guests
	tools/need-nginx
	tools/need wrk=wrk curl=curl taskset=util-linux pgrep=procps
	bench/run

install: build
	install -d $(DESTDIR)$(LUALIB)/resty/wasm
	install -m 644 lib/resty/*.lua $(DESTDIR)$(LUALIB)/resty
	install -m 644 lib/resty/wasm/*.lua $(DESTDIR)$(LUALIB)/resty/wasm
	install -m 755 $(LIBRARY) $(DESTDIR)$(LUALIB)/resty/wasm

# The tarball that is unpacked into Apache APISIX's deps/. GLIBC=2.28 builds its library for that glibc, else it is for this machine's.
dist: build
ifdef GLIBC
	library=$$(tools/build-portable $(GLIBC)) && tools/dist-apisix "$$library"
else
	tools/dist-apisix
endif

# APISIX_HOME=/usr/local/apisix
install-apisix: build
	tools/stage-apisix target/apisix
	target/apisix/share/resty-wasm/install.sh $(if $(APISIX_HOME),--apisix-home "$(APISIX_HOME)") \
	  $(if $(OPENRESTY_PREFIX),--openresty "$(OPENRESTY_PREFIX)")

clean:
	rm -rf target fuzz/target fuzz/corpus fuzz/artifacts t/servroot $(LIBRARY)
