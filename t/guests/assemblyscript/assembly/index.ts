// The fault injection of wasm-nginx-module's tests, and the main paths that the SDK has. The configuration is `STATUS BODY`; with
// status 0 requests pass, and what the plugin sees of them is in the response's headers and in the log.

export * from "@solo-io/proxy-runtime/proxy";
import {
  Context, Counter, FilterDataStatusValues, FilterHeadersStatusValues, GrpcStatusValues, HeaderPair, LogLevelValues, RootContext,
  log, registerRootContext, send_local_response, stream_context
} from "@solo-io/proxy-runtime";
import {
  BufferTypeValues, HeaderMapTypeValues, get_buffer_bytes, get_buffer_status, get_current_time_nanoseconds, get_header_map_size,
  get_property, set_tick_period_milliseconds
} from "@solo-io/proxy-runtime/runtime";

function info(message: string): void {
  log(LogLevelValues.info, "assemblyscript: " + message);
}

class FaultInjectionRoot extends RootContext {
  status: u32 = 0;
  body: string = "";
  requests: Counter | null = null;

  onConfigure(size: u32): bool {
    if (!super.onConfigure(size)) {
      return false;
    }
    const words = this.getConfiguration().split(" ");
    this.status = U32.parseInt(words[0]);
    this.body = words.slice(1).join(" ");
    this.requests = new Counter("assemblyscript.requests");
    set_tick_period_milliseconds(10);
    info("configured at " + (get_current_time_nanoseconds() > 0 ? "a time" : "no time"));
    return this.status == 0 || this.status >= 200;
  }

  onTick(): void {
    set_tick_period_milliseconds(0);
    info("tick");
  }

  createContext(id: u32): Context {
    return new FaultInjection(id, this);
  }
}

class FaultInjection extends Context {
  root: FaultInjectionRoot;

  constructor(id: u32, root: FaultInjectionRoot) {
    super(id, root);
    this.root = root;
  }

  onRequestHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const requests = this.root.requests;
    if (requests != null) {
      requests.increment(1);
    }
    if (this.root.status != 0) {
      const body = String.UTF8.encode(this.root.body);
      send_local_response(this.root.status, "", body, new Array<HeaderPair>(0), GrpcStatusValues.Unavailable);
      return FilterHeadersStatusValues.StopIteration;
    }
    const headers = stream_context.headers.request;
    headers.replace("x-replaced", headers.get("x-replaced") + ", replaced");
    headers.add("x-added", String.UTF8.decode(get_property("request_method")));
    headers.remove("x-removed");
    info(headers.get_headers().length.toString() + " request headers, "
      + (get_header_map_size(HeaderMapTypeValues.RequestHeaders) > 0 ? "some" : "no") + " bytes");
    return FilterHeadersStatusValues.Continue;
  }

  onRequestBody(size: usize, end_of_stream: bool): FilterDataStatusValues {
    info("request body: " + String.UTF8.decode(get_buffer_bytes(BufferTypeValues.HttpRequestBody, 0, size as u32)));
    return FilterDataStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const headers = stream_context.headers.response;
    headers.add("x-status", headers.get(":status"));
    return FilterHeadersStatusValues.Continue;
  }

  onResponseBody(size: usize, end_of_stream: bool): FilterDataStatusValues {
    const length = get_buffer_status(BufferTypeValues.HttpResponseBody).length as u32;
    const body = String.UTF8.decode(get_buffer_bytes(BufferTypeValues.HttpResponseBody, 0, size as u32));
    if (size > 0) {
      info("response body of " + length.toString() + ": " + body.trim());
    }
    return FilterDataStatusValues.Continue;
  }

  onLog(): void {
    info("log");
  }
}

registerRootContext((id: u32) => { return new FaultInjectionRoot(id); }, "FaultInjection");
