import { useCallback, useEffect, useState } from "react";
import { io } from "socket.io-client";
import { listVehicles, type Vehicle } from "./api";
import { apiOrigin } from "./settings";

type LiveStatus = "connecting" | "live" | "offline";

function merge(vehicles: Vehicle[], changed: Vehicle): Vehicle[] {
  const others = vehicles.filter(({ id }) => id !== changed.id);
  return [...others, changed].sort((one, other) => other.id - one.id);
}

export function useVehicles() {
  const [vehicles, setVehicles] = useState<Vehicle[]>([]);
  const [status, setStatus] = useState<LiveStatus>("connecting");
  const [problem, setProblem] = useState("");

  const refresh = useCallback(async () => {
    try {
      setVehicles(await listVehicles());
      setProblem("");
    } catch (error) {
      setProblem((error as Error).message);
    }
  }, []);

  useEffect(() => {
    const socket = io(apiOrigin, { transports: ["websocket"] });
    const update = (vehicle: Vehicle) => setVehicles((known) => merge(known, vehicle));
    socket.on("connect", () => {
      setStatus("live");
      void refresh();
    });
    socket.on("disconnect", () => setStatus("offline"));
    socket.on("vehicle.created", update);
    socket.on("vehicle.processed", update);
    void refresh();
    return () => void socket.close();
  }, [refresh]);

  return { vehicles, status, problem, refresh };
}
