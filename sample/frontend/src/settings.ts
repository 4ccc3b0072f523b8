const configured = import.meta.env.VITE_API_BASE || import.meta.env.VITE_API_URL || window.location.origin;

export const apiOrigin = configured.replace(/\/+$/, "").replace(/\/api$/, "");
export const version = __APP_VERSION__;

export function paymentMode(): string {
  const key = import.meta.env.VITE_STRIPE_PUBLISHABLE_KEY ?? "";
  if (key.startsWith("pk_live_")) return "live";
  return key.startsWith("pk_test_") ? "test" : "off";
}
