const PREFIX = "flotteq-driver-";
const CURRENT = PREFIX + new URL(self.location.href).searchParams.get("version");

async function dropOlderReleases() {
  const names = await caches.keys();
  const older = names.filter((name) => name.startsWith(PREFIX) && name !== CURRENT);
  await Promise.all(older.map((name) => caches.delete(name)));
  await self.clients.claim();
}

async function networkFirst(request) {
  const cache = await caches.open(CURRENT);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put("/", response.clone());
    return response;
  } catch (error) {
    const known = await cache.match("/");
    if (known) return known;
    throw error;
  }
}

async function cacheFirst(request) {
  const cache = await caches.open(CURRENT);
  const known = await cache.match(request);
  if (known) return known;
  const response = await fetch(request);
  if (response.ok) await cache.put(request, response.clone());
  return response;
}

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(dropOlderReleases()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (request.mode === "navigate") event.respondWith(networkFirst(request));
  else if (url.pathname.startsWith("/assets/")) event.respondWith(cacheFirst(request));
});
