// A Worker that only answers. Its twin is benchmarks/hello.

export default {
  async fetch() {
    return new Response("Hello, world!", { headers: { "Content-Type": "text/plain;charset=UTF-8" } });
  },
};
