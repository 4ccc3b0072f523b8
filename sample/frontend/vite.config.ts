import { defineConfig, type Plugin } from "vite";

const version = process.env.VERSION || "dev";

const versionFile: Plugin = {
  name: "version-file",
  generateBundle() {
    this.emitFile({ type: "asset", fileName: "version.json", source: `${JSON.stringify({ version })}\n` });
  },
};

export default defineConfig({
  define: { __APP_VERSION__: JSON.stringify(version) },
  esbuild: { jsx: "automatic" },
  build: { assetsInlineLimit: 0 },
  plugins: [versionFile],
});
