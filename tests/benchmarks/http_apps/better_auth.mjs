// A site of Better Auth with its memory adapter and its one-time-token plugin, for over_http.py.
// The first argument is the port. Defaults but for what makes the two sites alike: tokens are stored
// as hashes, as the other site stores them, and no limit of requests a minute ends the measurement.
import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { toNodeHandler } from "better-auth/node";
import { oneTimeToken } from "better-auth/plugins";

const port = Number(process.argv[2]);
const tables = { user: [], session: [], account: [], verification: [] };
const auth = betterAuth({
  baseURL: `http://127.0.0.1:${port}`,
  secret: process.env.OTT_BENCH_SECRET,
  database: memoryAdapter(tables),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  plugins: [oneTimeToken({ storeToken: process.env.OTT_BENCH_STORE_TOKEN ?? "hashed" })],
});
createServer(toNodeHandler(auth)).listen(port, "127.0.0.1");
