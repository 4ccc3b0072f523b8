import { paymentMode, version } from "./settings";
import { useVehicles } from "./use-vehicles";
import { VehicleForm } from "./vehicle-form";
import { VehicleList } from "./vehicle-list";

export interface Brand {
  name: string;
  tagline: string;
}

export function App({ brand }: { brand: Brand }) {
  const { vehicles, status, problem, refresh } = useVehicles();
  return (
    <>
      <header>
        <div>
          <h1>{brand.name}</h1>
          <p>{brand.tagline}</p>
        </div>
        <span className={`badge ${status === "live" ? "done" : ""}`} data-testid="live-status">
          {status}
        </span>
      </header>
      <main>
        <VehicleForm onAdded={refresh} />
        {problem && <p role="alert">{problem}</p>}
        <VehicleList vehicles={vehicles} />
      </main>
      <footer>
        Version <span data-testid="version">{version}</span> · Payments: {paymentMode()}
      </footer>
    </>
  );
}
